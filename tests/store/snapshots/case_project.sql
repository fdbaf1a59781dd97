-- $1 org_id
-- $2 case_key
-- $3 project_id

SELECT project_id FROM cases
WHERE org_id = $1 AND case_key = $2 AND ($3::text IS NULL OR project_id = $3);
