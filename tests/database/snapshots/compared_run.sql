-- $1 org_id
-- $2 run_id
-- $3 project_id

SELECT r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.commit_sha, r.completed_at, r.revision, r.complete,
status_name(r.status) AS status, r.failures_missing, r.results_expired, r.created_at,
coalesce(r.sent_at_once, false) AS sent_at_once,
r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, (r.trusted IS NOT FALSE) AS trusted,
       coalesce(r.base_branch, project.default_branch, 'main') AS baseline_branch
FROM runs r LEFT JOIN LATERAL (
    SELECT p.default_branch FROM projects p WHERE p.org_id = $1 AND p.project_id = r.project_id LIMIT 1
) project ON true
WHERE r.org_id = $1 AND r.run_id = $2 AND ($3::text IS NULL OR r.project_id = $3);
