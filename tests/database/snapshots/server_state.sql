-- $1 org_ids
-- $2 users

SELECT concat_ws(' ', pg_relation_filenode(to_regclass('cases')), pg_relation_filenode(to_regclass('organizations')),
          pg_relation_filenode(to_regclass('projects'))) AS files, clock_timestamp() AS now, (
    SELECT json_object_agg(org_id, json_build_array(cases_version, deleted_projects))
    FROM organizations WHERE org_id = ANY ($1::int[])
) AS versions, (
    SELECT json_agg(json_build_array(user_id, org_id, project_id)) FROM producers WHERE user_id = ANY ($2::text[])
) AS producers;
