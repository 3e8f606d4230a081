ALTER TABLE {prefix}sync_checkpoint DROP COLUMN analyzer;
DO $$
DECLARE
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['notes', 'heuristics', 'outcomes', 'preferences', 'domain_knowledge', 'anti_patterns',
                                'entities', 'relations'] LOOP
        kind := '{prefix}' || kind;
        EXECUTE format('DROP INDEX %I, %I, %I', kind || '_terms', kind || '_session', kind || '_model');
        EXECUTE format('ALTER TABLE %I DROP COLUMN terms, DROP COLUMN term_count, DROP COLUMN asks, DROP COLUMN asked',
                       kind);
    END LOOP;
END $$;
