-- $1 org_id
-- $2 run_key

SELECT r.shards FROM runs r WHERE r.org_id = $1 AND r.run_key = $2;
