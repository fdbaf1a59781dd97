-- $1 org_id
-- $2 run_id
-- $3 project_id

SELECT
    r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url,
    r.pipeline, r.title, r.author, r.workflow, r.job_url, r.repository_url, r.labels, status_name(r.status) AS status, r.failures_missing, r.complete,
    r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky,
    r.expected_results, r.expected_shards, r.revision,
    (date_part('epoch', r.started_at) * 1000)::bigint AS started_ms, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms, (date_part('epoch', r.last_completed_at) * 1000)::bigint AS last_completed_ms,
    r.duration_ms, r.results_expired, r.pinned, (r.trusted IS NOT FALSE) AS trusted,
    (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id,
    (
        SELECT jsonb_agg(jsonb_build_array(part, variant, shard, attempt) ORDER BY part, variant, shard) FROM (
            SELECT nullif(p.name, '') AS part, p.variant, nullif(p.shard, 0) AS shard,
                   nullif(count(*) FILTER (WHERE p.attempt > 0), 0) AS attempt
            FROM run_parts p WHERE p.org_id = $1 AND p.run_key = r.run_key
            GROUP BY p.name, p.variant, p.shard
        ) part
    ) AS parts
FROM runs r
WHERE r.org_id = $1 AND r.run_id = $2 AND ($3::text IS NULL OR r.project_id = $3);
