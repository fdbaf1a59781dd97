-- $1 org_id
-- $2 run_id
-- $3 project_id

SELECT row_to_json(item)::text
FROM (
    SELECT
        r.run_id AS id, (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id,
        r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url, r.labels,
        status_name(r.status) AS status, r.failures_missing, r.complete, run_counts(r) AS counts,
        r.expected_results, r.expected_shards, r.revision, rfc3339(r.started_at) AS started_at,
        rfc3339(r.completed_at) AS completed_at, rfc3339(r.last_completed_at) AS last_completed_at, r.duration_ms,
        r.results_expired, r.pinned
    FROM runs r
    WHERE r.org_id = $1 AND r.run_id = $2 AND ($3::text IS NULL OR r.project_id = $3)
) item;
