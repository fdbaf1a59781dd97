-- $1 org_id
-- $2 fingerprint
-- $3 project_id

SELECT run.project_id
FROM (
    SELECT d.run_key FROM result_details d
    WHERE d.org_id = $1 AND d.fingerprint = $2 AND d.is_last_attempt AND d.status <> 'p'
    ORDER BY d.run_key DESC LIMIT 1
) newest
CROSS JOIN LATERAL (
    SELECT r.project_id FROM runs r WHERE r.org_id = $1 AND r.run_key = newest.run_key LIMIT 1
) run
WHERE $3::text IS NULL OR run.project_id = $3;
