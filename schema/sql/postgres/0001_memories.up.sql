-- The live memories, one table per kind; what could not be taken; and how far all of it is.
-- The names are the prefix of the sink and the kinds of include/annal/kind.h; vectors are of type `vector`, or `real[]` where pgvector is not.
-- The project's collation is that of bytes, so that rows are walked in the order of the log's own keys.
CREATE TABLE {prefix}notes (
    project             text COLLATE "C" NOT NULL,
    memory_id           uuid NOT NULL,
    version             bigint NOT NULL,
    seq                 bigint NOT NULL,
    created_seq         bigint NOT NULL,
    agent               text NOT NULL,
    user_id             text NOT NULL,
    session             text NOT NULL,
    content             text NOT NULL,
    tags                text[] NOT NULL,
    metadata            jsonb NOT NULL,
    claim               text NOT NULL,
    confidence          double precision NOT NULL,
    occurrence_count    bigint NOT NULL,
    success_count       bigint NOT NULL,
    actor               text NOT NULL,
    source_type         text NOT NULL,
    source_ref          text NOT NULL,
    recorded_at         timestamptz NOT NULL,
    updated_at          timestamptz NOT NULL,
    occurred_at         timestamptz NOT NULL,
    valid_from          timestamptz,
    valid_to            timestamptz,
    expires_at          timestamptz,
    verified_at         timestamptz,
    superseded_by       uuid,
    forgotten           boolean NOT NULL,
    payload             text NOT NULL,
    embedding_model     text NOT NULL,     -- Of the vector that the memory was given; empty: none.
    embedding_dimension integer NOT NULL,
    vector_model        text,              -- Of the vector that is here.
    embedding           {vector}
);
CREATE TABLE {prefix}heuristics (
    LIKE {prefix}notes,
    condition text NOT NULL,
    strategy  text NOT NULL
);
CREATE TABLE {prefix}outcomes (
    LIKE {prefix}notes,
    task_type        text NOT NULL,
    task_description text NOT NULL,
    strategy_used    text NOT NULL,
    success          boolean NOT NULL,
    duration_ms      bigint,
    error_message    text NOT NULL,
    user_feedback    text NOT NULL
);
CREATE TABLE {prefix}preferences (
    LIKE {prefix}notes,
    category text NOT NULL
);
CREATE TABLE {prefix}domain_knowledge (
    LIKE {prefix}notes,
    domain text NOT NULL
);
CREATE TABLE {prefix}anti_patterns (
    LIKE {prefix}notes,
    why_bad            text NOT NULL,
    better_alternative text NOT NULL
);
CREATE TABLE {prefix}entities (
    LIKE {prefix}notes,
    name        text NOT NULL,
    entity_type text NOT NULL
);
CREATE TABLE {prefix}relations (
    LIKE {prefix}notes,
    source_id     text NOT NULL,
    target_id     text NOT NULL,
    relation_type text NOT NULL,
    strength      double precision NOT NULL,
    bidirectional boolean NOT NULL
);
DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['notes', 'heuristics', 'outcomes', 'preferences', 'domain_knowledge', 'anti_patterns',
                                'entities', 'relations'] LOOP
        kind := '{prefix}' || kind;
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (project, memory_id)', kind);
        EXECUTE format('CREATE INDEX %I ON %I (project, user_id) WHERE user_id <> %L', kind || '_user', kind, '');
    END LOOP;
END $$;

CREATE TABLE {prefix}dead_letters (
    project     text COLLATE "C" NOT NULL,
    memory_id   uuid NOT NULL,
    kind        text NOT NULL,
    seq         bigint NOT NULL,
    reason      text NOT NULL,
    user_id     text NOT NULL,
    created_seq bigint NOT NULL,
    PRIMARY KEY (project, memory_id)
);

-- One row. Without a store_id: nothing is here.
CREATE TABLE {prefix}sync_checkpoint (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    store_id   text,
    epoch      bigint,
    seq        bigint,
    hash       bytea,
    fence      bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO {prefix}sync_checkpoint (fence) VALUES (0);
