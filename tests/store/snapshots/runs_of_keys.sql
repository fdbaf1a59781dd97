-- $1 org_id
-- $2 run_keys

SELECT
    r.run_key, (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id, r.run_id, r.project_id,
    r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url, r.labels, status_name(r.status) AS status,
    r.failures_missing, r.complete, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky,
    r.expected_results, r.expected_shards, r.revision,
    (date_part('epoch', r.started_at) * 1000)::bigint AS started_ms, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms, (date_part('epoch', r.last_completed_at) * 1000)::bigint AS last_completed_ms,
    r.duration_ms, r.results_expired, r.pinned
FROM runs r WHERE r.org_id = $1 AND r.run_key = ANY ($2::uuid[])
ORDER BY r.run_key DESC;
