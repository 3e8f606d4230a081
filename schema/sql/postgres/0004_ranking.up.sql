-- What the engine's own search needs: the terms of its text index with how often each, how many there are, whether the
-- memory asks; the order of a session; which models there are. The sink writes them with each memory.
-- A term's count is the number of its positions, at most 255.
DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['notes', 'heuristics', 'outcomes', 'preferences', 'domain_knowledge', 'anti_patterns',
                                'entities', 'relations'] LOOP
        kind := '{prefix}' || kind;
        EXECUTE format('ALTER TABLE %I ADD COLUMN terms tsvector, ADD COLUMN term_count integer, '
                       'ADD COLUMN asks boolean, ADD COLUMN asked smallint', kind);
        EXECUTE format('CREATE INDEX %I ON %I USING gin (terms)', kind || '_terms', kind);
        EXECUTE format('CREATE INDEX %I ON %I (project, session, agent, user_id, created_seq) INCLUDE (term_count)',
                       kind || '_session', kind);
        EXECUTE format('CREATE INDEX %I ON %I (project, vector_model) WHERE vector_model IS NOT NULL',
                       kind || '_model', kind);
    END LOOP;
END $$;
-- Which analyzer made the terms. NULL: they are older than this.
ALTER TABLE {prefix}sync_checkpoint ADD COLUMN analyzer text;
