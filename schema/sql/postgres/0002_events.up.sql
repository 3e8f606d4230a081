-- The whole history, for sinks that keep it.
CREATE TABLE {prefix}events (
    seq            bigint PRIMARY KEY,
    project        text COLLATE "C" NOT NULL,
    memory_id      uuid NOT NULL,
    version        bigint NOT NULL,
    event_id       uuid NOT NULL,
    type           text NOT NULL,
    recorded_at    timestamptz NOT NULL,
    agent          text NOT NULL,
    user_id        text NOT NULL,
    session        text NOT NULL,
    actor          text NOT NULL,
    source_type    text NOT NULL,
    source_ref     text NOT NULL,
    reason         text NOT NULL,
    correlation_id text NOT NULL,
    causation_id   text NOT NULL,
    changes        jsonb NOT NULL
);
CREATE INDEX {prefix}events_memory ON {prefix}events (project, memory_id, version);
CREATE INDEX {prefix}events_time ON {prefix}events (project, recorded_at DESC);
CREATE INDEX {prefix}events_user ON {prefix}events (project, user_id, seq) WHERE user_id <> '';
