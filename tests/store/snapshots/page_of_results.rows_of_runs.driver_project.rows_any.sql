-- $1 project_id
-- $2 environment
-- $3 branch
-- $4 flaky
-- $5 statuses
-- $6 org_id
-- $7 first_key
-- $8 before_run
-- $9 any_status
-- $10 before_case
-- $11 page

WITH examined AS MATERIALIZED (
    SELECT run_key, case_key, matches, is_edge FROM (
        SELECT run.run_key, candidate.case_key, coalesce(candidate.matches, false) AS matches,
               run.row_no = 2000 OR row_number() OVER () = 20000 AS is_edge
        FROM (
            SELECT
                r.run_key, r.project_id, row_number() OVER () AS row_no,
                (($1::text IS NULL OR r.project_id = $1) AND ($2::text IS NULL OR r.environment = $2)
                AND ($3::text IS NULL OR r.branch = $3)
                 AND CASE WHEN $4::bool IS NULL THEN result_count(r, $5::text[])
                      WHEN $4::bool THEN CASE WHEN 'p' = ANY ($5::text[]) THEN r.flaky ELSE 0 END ELSE result_count(r, $5::text[]) - CASE WHEN 'p' = ANY ($5::text[]) THEN r.flaky ELSE 0 END END > 0) AS matches
            FROM (
                SELECT * FROM runs
                WHERE org_id = $6 AND project_id = $1 AND run_key BETWEEN $7 AND $8
                ORDER BY run_key DESC LIMIT 2000
            ) r
        ) run
        LEFT JOIN LATERAL (  -- OFFSET 0: a run that doesn't match costs nothing; a condition would be checked per partition
            SELECT candidate.case_key, candidate.matches
            FROM (SELECT run.run_key, run.project_id WHERE run.matches OFFSET 0) run CROSS JOIN LATERAL (
                SELECT r.case_key, ($9::bool OR r.status = ANY ($5::text[]::"char"[])) AND ($4::bool IS NULL OR r.flaky = $4::bool) AS matches
                FROM results r
                WHERE r.org_id = $6 AND r.run_key = run.run_key
                  AND (r.run_key, r.case_key) < ($8, $10)
                ORDER BY r.case_key DESC LIMIT 20000
            ) candidate
        ) candidate ON true
        LIMIT 20000
    ) examined
    WHERE matches OR is_edge LIMIT $11::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, case_key, matches, is_edge, row_number() OVER () AS row_no, count(*) OVER () AS row_count,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > $11::int THEN $11::int
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
            WHERE r.org_id = $6 AND r.run_key = key.run_key AND r.case_key = key.case_key LIMIT 1
        ) fact
        CROSS JOIN LATERAL (
            SELECT r.run_id, r.project_id, r.environment, r.branch, r.completed_at FROM runs r
            WHERE r.org_id = $6 AND r.run_key = key.run_key LIMIT 1
        ) run
        CROSS JOIN LATERAL (
            SELECT c.case_id, c.variant, c.suite, c.name, c.file FROM cases c
            WHERE c.org_id = $6 AND c.case_key = key.case_key LIMIT 1
        ) test_case
        LEFT JOIN LATERAL (
            SELECT detail.summary FROM result_details detail
            WHERE (fact.status <> 'p' OR fact.flaky) AND detail.org_id = $6 AND detail.run_key = key.run_key
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
    SELECT run_key, case_key FROM numbered WHERE row_no = page_rows AND (row_count > $11::int OR is_edge)
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_key, case_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits)
    ORDER BY row_no DESC LIMIT 1
) full_page ON true;
