-- $1 org_id
-- $2 project_id
-- $3 branch
-- $4 run_key
-- $5 environment

SELECT r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.commit_sha, r.completed_at, r.revision, r.complete,
status_name(r.status) AS status, r.failures_missing, r.results_expired, r.created_at,
coalesce(r.sent_at_once, false) AS sent_at_once,
r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, (r.trusted IS NOT FALSE) AS trusted FROM runs r
WHERE r.org_id = $1 AND r.project_id = $2 AND r.branch = $3 AND r.run_key > $4 AND (r.trusted IS NOT FALSE)
  AND r.complete AND r.passed + r.failed + r.error > 0 AND r.status <> 'c' AND NOT r.results_expired AND r.environment IS NOT DISTINCT FROM $5
ORDER BY r.run_key LIMIT 1;
