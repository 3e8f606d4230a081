DO $$
DECLARE
    kind text;
    indexed text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['notes', 'heuristics', 'outcomes', 'preferences', 'domain_knowledge', 'anti_patterns',
                                'entities', 'relations'] LOOP
        FOREACH indexed IN ARRAY ARRAY['time', 'agent_time', 'confidence', 'tags', 'metadata', 'words'] LOOP
            EXECUTE format('DROP INDEX %I', '{prefix}' || kind || '_' || indexed);
        END LOOP;
    END LOOP;
END $$;
ALTER TABLE {prefix}notes DROP COLUMN words;
ALTER TABLE {prefix}heuristics DROP COLUMN words;
ALTER TABLE {prefix}outcomes DROP COLUMN words;
ALTER TABLE {prefix}preferences DROP COLUMN words;
ALTER TABLE {prefix}domain_knowledge DROP COLUMN words;
ALTER TABLE {prefix}anti_patterns DROP COLUMN words;
ALTER TABLE {prefix}entities DROP COLUMN words;
ALTER TABLE {prefix}relations DROP COLUMN words;
DROP FUNCTION {prefix}words(text[]);
