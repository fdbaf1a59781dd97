-- $1 org_id
-- $2 run_id
-- $3 project_id

SELECT
    left('{"id":' || to_json(r.run_id)
    || ',"organization_id":' || to_json((SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1))
    || ',"run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
    || ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
    || ',"branch":' || coalesce(to_json(r.branch)::text, 'null')
    || ',"base_branch":' || coalesce(to_json(r.base_branch)::text, 'null')
    || ',"commit_sha":' || coalesce(to_json(r.commit_sha)::text, 'null')
    || ',"pull_request":' || coalesce(to_json(r.pull_request)::text, 'null')
    || ',"ci_url":' || coalesce(to_json(r.ci_url)::text, 'null') || ',"labels":' || r.labels
    || ',"status":"' || status_name(r.status) || '","failures_missing":' || r.failures_missing::text
    || ',"complete":' || r.complete::text || ',"counts":{"passed":' || r.passed || ',"failed":' || r.failed
    || ',"error":' || r.error || ',"skipped":' || r.skipped || ',"canceled":' || r.canceled || ',"flaky":' || r.flaky
    || '},"expected_results":' || coalesce(r.expected_results::text, 'null')
    || ',"expected_shards":' || coalesce(r.expected_shards::text, 'null') || ',"revision":' || r.revision
    || ',"started_at":' || coalesce('"' || rfc3339(r.started_at) || '"', 'null')
    || ',"completed_at":"' || rfc3339(r.completed_at) || '","last_completed_at":"' || rfc3339(r.last_completed_at)
    || '","duration_ms":' || coalesce(r.duration_ms::text, 'null')
    || ',"results_expired":' || r.results_expired::text || ',"pinned":' || r.pinned::text || '}', -1) || ',"parts":' || parts.listed || '}'
FROM runs r
CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(item ORDER BY item.part, item.variant, item.shard), '[]')::text AS listed FROM (
        SELECT nullif(p.name, '') AS part, p.variant, nullif(p.shard, 0) AS shard,
               nullif(count(*) FILTER (WHERE p.attempt > 0), 0) AS attempt
        FROM run_parts p WHERE p.org_id = $1 AND p.run_key = r.run_key
        GROUP BY p.name, p.variant, p.shard
    ) item
) parts
WHERE r.org_id = $1 AND r.run_id = $2 AND ($3::text IS NULL OR r.project_id = $3);
