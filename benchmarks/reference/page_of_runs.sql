-- The statement of version 0.9.0, which the query benchmark compares with the current one.
-- $1 statuses
-- $2 org_id
-- $3 before_run
-- $4 first_key
-- $5 page

WITH examined AS MATERIALIZED (
    SELECT run_key, matches, is_edge
    FROM (
        SELECT
            r.run_key, row_number() OVER () = 2000 AS is_edge,
            r.status = ANY ($1::text[]::"char"[]) AS matches
        FROM (
            SELECT * FROM runs
            WHERE org_id = $2 AND run_key BETWEEN $4 AND $3
            ORDER BY run_key DESC LIMIT 2000
        ) r
    ) examined
    WHERE matches OR is_edge LIMIT $5::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, matches, is_edge, row_number() OVER () AS row_no, count(*) OVER () AS row_count,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > $5::int THEN $5::int
                ELSE count(*) OVER () END AS page_rows
    FROM examined
), sized AS MATERIALIZED (
    SELECT run_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT key.run_key, key.row_no, row_to_json(run)::text AS item FROM numbered key
        CROSS JOIN LATERAL (
            SELECT
                r.run_id AS id, (SELECT slug FROM organizations WHERE org_id = $2 LIMIT 1) AS organization_id,
                r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url, r.labels,
                status_name(r.status) AS status, r.failures_missing, r.complete, run_counts(r) AS counts,
                r.expected_results, r.expected_shards, r.revision, rfc3339(r.started_at) AS started_at,
                rfc3339(r.completed_at) AS completed_at, rfc3339(r.last_completed_at) AS last_completed_at, r.duration_ms,
                r.results_expired, r.pinned
            FROM runs r WHERE r.org_id = $2 AND r.run_key = key.run_key LIMIT 1
        ) run
        WHERE key.matches AND key.row_no <= key.page_rows
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_key, page_end.run_key) AS run_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT run_key FROM numbered WHERE row_no = page_rows AND (row_count > $5::int OR is_edge)
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits) ORDER BY row_no DESC LIMIT 1
) full_page ON true;
