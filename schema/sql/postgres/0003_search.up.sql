-- What reads ask for: the latest of a project or an agent, what is trusted, tags, metadata, words. Vectors have one
-- index for each model and dimension, made when the first one comes.

-- array_to_string is not declared immutable since it is for arrays of any type; of text it is.
CREATE FUNCTION {prefix}words(VARIADIC parts text[]) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT to_tsvector('pg_catalog.english', array_to_string(parts, ' ')) $$;

ALTER TABLE {prefix}notes ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content])) STORED;
ALTER TABLE {prefix}heuristics ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, condition, strategy])) STORED;
ALTER TABLE {prefix}outcomes ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, task_type, task_description,
                                                              strategy_used, error_message, user_feedback])) STORED;
ALTER TABLE {prefix}preferences ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, category])) STORED;
ALTER TABLE {prefix}domain_knowledge ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, domain])) STORED;
ALTER TABLE {prefix}anti_patterns ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, why_bad, better_alternative])) STORED;
ALTER TABLE {prefix}entities ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, name, entity_type])) STORED;
ALTER TABLE {prefix}relations ADD COLUMN words tsvector
    GENERATED ALWAYS AS ({prefix}words(VARIADIC tags || ARRAY[actor, content, source_id, target_id,
                                                              relation_type])) STORED;
DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['notes', 'heuristics', 'outcomes', 'preferences', 'domain_knowledge', 'anti_patterns',
                                'entities', 'relations'] LOOP
        kind := '{prefix}' || kind;
        EXECUTE format('CREATE INDEX %I ON %I (project, recorded_at DESC)', kind || '_time', kind);
        EXECUTE format('CREATE INDEX %I ON %I (project, agent, recorded_at DESC)', kind || '_agent_time', kind);
        EXECUTE format('CREATE INDEX %I ON %I (project, confidence) WHERE confidence > 0', kind || '_confidence', kind);
        EXECUTE format('CREATE INDEX %I ON %I USING gin (tags)', kind || '_tags', kind);
        EXECUTE format('CREATE INDEX %I ON %I USING gin (metadata)', kind || '_metadata', kind);
        EXECUTE format('CREATE INDEX %I ON %I USING gin (words)', kind || '_words', kind);
    END LOOP;
END $$;
