-- $1 project_id
-- $2 environment
-- $3 branch
-- $4 commit_sha
-- $5 pull_request
-- $6 labels
-- $7 statuses
-- $8 flaky
-- $9 org_id
-- $10 first_key
-- $11 before_run
-- $12 page

WITH examined AS MATERIALIZED (
    SELECT run_key, matches, is_edge FROM (
        SELECT
            r.run_key, row_number() OVER () = 1000 AS is_edge,
            ($1::text IS NULL OR r.project_id = $1) AND ($2::text IS NULL OR r.environment = $2)
            AND ($3::text IS NULL OR r.branch = $3)
            AND ($4::text IS NULL OR starts_with(r.commit_sha, $4))
            AND ($5::text IS NULL OR r.pull_request = $5)
            AND ($6::text[] IS NULL OR r.labels @> ALL ((SELECT $6::text[]::jsonb[])::jsonb[]))
            AND r.status = ANY ($7::text[]::"char"[])
            AND ($8::bool IS NULL OR (r.flaky > 0) = $8::bool) AS matches
        FROM (
            SELECT * FROM runs
            WHERE org_id = $9 AND true AND run_key BETWEEN $10 AND $11
            ORDER BY run_key DESC LIMIT 1000
        ) r
    ) examined
    WHERE matches OR is_edge LIMIT $12::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, matches, is_edge, row_number() OVER () AS row_no, count(*) OVER () AS row_count,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > $12::int THEN $12::int
                ELSE count(*) OVER () END AS page_rows
    FROM examined
), sized AS MATERIALIZED (
    SELECT run_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT key.run_key, key.row_no, run.item FROM numbered key
        CROSS JOIN LATERAL (
            SELECT
                '{"id":' || to_json(r.run_id)
                || ',"organization_id":' || to_json((SELECT slug FROM organizations WHERE org_id = $9 LIMIT 1))
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
                || ',"results_expired":' || r.results_expired::text || ',"pinned":' || r.pinned::text || '}' AS item
            FROM runs r WHERE r.org_id = $9 AND r.run_key = key.run_key LIMIT 1
        ) run
        WHERE key.matches AND key.row_no <= key.page_rows
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_key, page_end.run_key) AS run_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT run_key FROM numbered WHERE row_no = page_rows AND (row_count > $12::int OR is_edge)
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits) ORDER BY row_no DESC LIMIT 1
) full_page ON true;
