-- $1 org_id
-- $2 run_id

SELECT r.run_key FROM runs r WHERE r.org_id = $1 AND r.run_id = $2;
