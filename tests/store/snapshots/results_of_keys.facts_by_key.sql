-- $1 run_keys
-- $2 case_keys
-- $3 org_id

WITH numbered AS MATERIALIZED (
    SELECT run_key, case_key, row_no, true AS matches, row_no AS page_rows
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS key (run_key, case_key, row_no)
)
SELECT row_no, item FROM (
    SELECT key.run_key, key.case_key, key.row_no, row_to_json(listed_result)::text AS item
    FROM numbered key
    CROSS JOIN LATERAL (
        SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
        WHERE r.org_id = $3 AND r.run_key = key.run_key AND r.case_key = key.case_key LIMIT 1
    ) fact
    CROSS JOIN LATERAL (
        SELECT r.run_id, r.project_id, r.environment, r.branch, r.completed_at FROM runs r
        WHERE r.org_id = $3 AND r.run_key = key.run_key LIMIT 1
    ) run
    CROSS JOIN LATERAL (
        SELECT c.case_id, c.variant, c.suite, c.name, c.file FROM cases c
        WHERE c.org_id = $3 AND c.case_key = key.case_key LIMIT 1
    ) test_case
    LEFT JOIN LATERAL (
        SELECT detail.summary FROM result_details detail
        WHERE (fact.status <> 'p' OR fact.flaky) AND detail.org_id = $3 AND detail.run_key = key.run_key
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
ORDER BY row_no;
