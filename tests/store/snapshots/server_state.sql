-- $1 org_ids

SELECT concat_ws(' ', pg_relation_filenode(to_regclass('cases')), pg_relation_filenode(to_regclass('organizations')), pg_relation_filenode(to_regclass('projects'))) AS files, clock_timestamp() AS now,
       (
           SELECT json_object_agg(v.org_id, v.version) FROM case_versions v WHERE v.org_id = ANY ($1::int[])
       ) AS versions;
