-- $1 org_ids
-- $2 case_keys

SELECT c.org_id, c.case_key, c.project_id, c.case_id, c.suite, c.name, c.occurrence, c.file, c.variant, c.owners,
       c.trusted AND c.promoted IS NOT TRUE AS trusted
FROM unnest($1::int[], $2::bigint[]) AS requested (org_id, case_key)
CROSS JOIN LATERAL (  -- LIMIT keeps the planner from reading the complete table, which was small when it made the plan
    SELECT * FROM cases WHERE org_id = requested.org_id AND case_key = requested.case_key LIMIT 1
) c
FOR SHARE OF c;
