DROP TABLE {prefix}notes, {prefix}heuristics, {prefix}outcomes, {prefix}preferences, {prefix}domain_knowledge,
    {prefix}anti_patterns, {prefix}entities, {prefix}relations, {prefix}dead_letters, {prefix}sync_checkpoint;
