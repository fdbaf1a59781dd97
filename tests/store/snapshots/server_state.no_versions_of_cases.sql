
SELECT concat_ws(' ', pg_relation_filenode(to_regclass('cases')), pg_relation_filenode(to_regclass('organizations')), pg_relation_filenode(to_regclass('projects'))) AS files, clock_timestamp() AS now,
       NULL::json AS versions;
