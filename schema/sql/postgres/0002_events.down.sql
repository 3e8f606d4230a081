DROP TABLE {prefix}events;
