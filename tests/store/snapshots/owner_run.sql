-- $1 org_id
-- $2 run_id
-- $3 project_id

SELECT r.run_key, r.project_id FROM runs r
WHERE r.org_id = $1 AND r.run_id = $2 AND ($3::text IS NULL OR r.project_id = $3)
  AND NOT r.results_expired;
