-- name: insert_minutes_of_run  (of a promoted run, whose failures belonged to no group)
INSERT INTO failure_group_minutes (fingerprint, org_id, minute)
SELECT DISTINCT fingerprint, org_id, completion_minute(run_key) FROM result_details
WHERE org_id = $1 AND run_key = $2 AND is_last_attempt AND status <> 'p' AND fingerprint IS NOT NULL
