-- $1 org_id
-- $2 before_run
-- $3 before_case
-- $4 first_key
-- $5 page

WITH examined AS MATERIALIZED (
    SELECT run_key, case_key, matches, is_edge FROM (
        SELECT d.run_key, d.case_key, true AS matches, false AS is_edge
        FROM result_details d
        WHERE d.org_id = $1 AND d.flaky AND (d.run_key, d.case_key) < ($2, $3) AND d.run_key >= $4
        ORDER BY d.run_key DESC, d.case_key DESC LIMIT $5::int + 1
    ) examined
    WHERE matches OR is_edge LIMIT $5::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, case_key, matches, is_edge, row_number() OVER () AS row_no, count(*) OVER () AS row_count,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > $5::int THEN $5::int
                ELSE count(*) OVER () END AS page_rows
    FROM examined
), sized AS MATERIALIZED (
    SELECT run_key, case_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT key.run_key, key.case_key, key.row_no, row_to_json(listed_result)::text AS item
        FROM numbered key
        CROSS JOIN LATERAL (
            SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
            WHERE r.org_id = $1 AND r.run_key = key.run_key AND r.case_key = key.case_key LIMIT 1
        ) fact
        CROSS JOIN LATERAL (
            SELECT r.run_id, r.project_id, r.environment, r.branch, r.completed_at FROM runs r
            WHERE r.org_id = $1 AND r.run_key = key.run_key LIMIT 1
        ) run
        CROSS JOIN LATERAL (
            SELECT c.case_id, c.variant, c.suite, c.name, c.file FROM cases c
            WHERE c.org_id = $1 AND c.case_key = key.case_key LIMIT 1
        ) test_case
        LEFT JOIN LATERAL (
            SELECT detail.summary FROM result_details detail
            WHERE (fact.status <> 'p' OR fact.flaky) AND detail.org_id = $1 AND detail.run_key = key.run_key
              AND detail.case_key = key.case_key AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
        ) detail ON true
        CROSS JOIN LATERAL (
            SELECT
                result_id(fact.run_key, fact.case_key) AS id, run.run_id, run.project_id, run.environment, run.branch,
                case_public_id(fact.case_key) AS "case", test_case.case_id, test_case.variant, test_case.suite, test_case.name, test_case.file,
                status_name(fact.status) AS status, fact.flaky, fact.attempts, known_duration(fact.duration_ms) AS duration_ms,
                rfc3339(known_start(run.completed_at, fact.started_offset_ms)) AS started_at, rfc3339(run.completed_at) AS completed_at,
                detail.summary AS failure_summary
        ) listed_result
        WHERE key.matches AND key.row_no <= key.page_rows
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_key, page_end.run_key) AS run_key,
       coalesce(full_page.case_key, page_end.case_key) AS case_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT run_key, case_key FROM numbered WHERE row_no = page_rows AND (row_count > $5::int OR is_edge)
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_key, case_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits)
    ORDER BY row_no DESC LIMIT 1
) full_page ON true;
