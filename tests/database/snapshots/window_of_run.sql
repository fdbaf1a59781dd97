-- $1 org_id
-- $2 project_id
-- $3 branch
-- $4 run_key
-- $5 environment

SELECT r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.commit_sha, r.completed_at, r.revision, r.complete,
status_name(r.status) AS status, r.failures_missing, r.results_expired, r.created_at,
coalesce(r.sent_at_once, false) AS sent_at_once,
r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, (r.trusted IS NOT FALSE) AS trusted
FROM (
    SELECT * FROM runs r
    WHERE org_id = $1 AND project_id = $2 AND branch = $3 AND run_key < $4 AND (r.trusted IS NOT FALSE)
    ORDER BY run_key DESC LIMIT 2000
) r
WHERE r.complete AND r.passed + r.failed + r.error > 0 AND r.status <> 'c' AND NOT r.results_expired
  AND r.environment IS NOT DISTINCT FROM $5
ORDER BY r.run_key DESC LIMIT 100;
