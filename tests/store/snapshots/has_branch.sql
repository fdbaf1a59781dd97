-- $1 org_id
-- $2 project_id
-- $3 branch

SELECT EXISTS (SELECT 1 FROM runs r WHERE org_id = $1 AND project_id = $2 AND branch = $3 AND (r.trusted IS NOT FALSE));
