-- $1 org_ids

SELECT concat_ws(' ', pg_relation_filenode(to_regclass('cases')), pg_relation_filenode(to_regclass('organizations')), pg_relation_filenode(to_regclass('projects'))) AS files, clock_timestamp() AS now, (
    SELECT json_object_agg(org_id, json_build_array(cases_version, deleted_projects)) FROM organizations WHERE org_id = ANY ($1::int[])
) AS versions;
