-- $1 org_id
-- $2 run_keys

SELECT r.run_key, r.run_id, r.project_id, r.environment, r.branch FROM runs r
WHERE r.org_id = $1 AND r.run_key = ANY ($2::uuid[]);
