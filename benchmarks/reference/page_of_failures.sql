-- The statement of version 0.9.0, which the query benchmark compares with the current one.
-- $1 statuses
-- $2 org_id
-- $3 before_run
-- $4 before_case
-- $5 first_key
-- $6 page

WITH examined AS MATERIALIZED (
    SELECT candidate.run_key, candidate.case_key, true AS matches, false AS is_edge
    FROM unnest($1::text[]::"char"[]) AS selected (status)
    CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key FROM result_details d
        WHERE d.org_id = $2 AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
          AND (d.run_key, d.case_key) < ($3, $4) AND d.run_key >= $5
        ORDER BY d.run_key DESC, d.case_key DESC LIMIT $6::int + 1
    ) candidate
    ORDER BY candidate.run_key DESC, candidate.case_key DESC LIMIT $6::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, case_key, matches, is_edge, row_number() OVER () AS row_no, count(*) OVER () AS row_count,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > $6::int THEN $6::int
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
            WHERE r.org_id = $2 AND r.run_key = key.run_key AND r.case_key = key.case_key LIMIT 1
        ) fact
        CROSS JOIN LATERAL (
            SELECT r.run_id, r.project_id, r.environment, r.branch, r.completed_at FROM runs r
            WHERE r.org_id = $2 AND r.run_key = key.run_key LIMIT 1
        ) run
        CROSS JOIN LATERAL (
            SELECT c.case_id, c.variant, c.suite, c.name, c.file FROM cases c
            WHERE c.org_id = $2 AND c.case_key = key.case_key LIMIT 1
        ) test_case
        LEFT JOIN LATERAL (
            SELECT d.summary FROM result_details d
            WHERE fact.status <> 'p' AND d.org_id = $2 AND d.run_key = key.run_key AND d.case_key = key.case_key
              AND d.is_last_attempt LIMIT 1
        ) detail ON true
        CROSS JOIN LATERAL (
            SELECT
                result_id(fact.run_key, fact.case_key) AS id, run.run_id, run.project_id, run.environment, run.branch,
                case_public_id(fact.case_key) AS "case", test_case.case_id, test_case.variant, test_case.suite, test_case.name, test_case.file,
                status_name(fact.status) AS status, fact.flaky, fact.attempts, known_duration(fact.duration_ms) AS duration_ms,
                rfc3339(known_start(run.completed_at, fact.started_offset_ms)) AS started_at, rfc3339(run.completed_at) AS completed_at,
                CASE WHEN fact.status <> 'p' THEN detail.summary END AS failure_summary
        ) listed_result
        WHERE key.matches AND key.row_no <= key.page_rows
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_key, page_end.run_key) AS run_key,
       coalesce(full_page.case_key, page_end.case_key) AS case_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT run_key, case_key FROM numbered WHERE row_no = page_rows AND (row_count > $6::int OR is_edge)
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_key, case_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits)
    ORDER BY row_no DESC LIMIT 1
) full_page ON true;
