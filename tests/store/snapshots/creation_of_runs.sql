-- $1 org_id
-- $2 run_keys

SELECT r.run_key, r.created_at FROM runs r WHERE r.org_id = $1 AND r.run_key = ANY ($2::uuid[]);
