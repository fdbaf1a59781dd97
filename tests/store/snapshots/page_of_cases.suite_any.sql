-- $1 org_id
-- $2 project_id
-- $3 after_suite
-- $4 after_case
-- $5 page
-- $6 runs

WITH recent AS MATERIALIZED (
    SELECT run_key, row_number() OVER ()::int AS run_no FROM (SELECT run_key FROM runs WHERE org_id = $1 AND project_id = $2 ORDER BY run_key DESC LIMIT 200) newest
), listed AS MATERIALIZED (
    SELECT c.suite_hash, c.case_key FROM cases c
    WHERE c.org_id = $1 AND c.project_id = $2 AND true
      AND (c.suite_hash, c.case_key) > ($3::bigint, $4::bigint)
    ORDER BY c.suite_hash, c.case_key LIMIT $5::int + 1
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER () AS row_no, count(*) OVER () AS row_count FROM listed
), newest_results AS MATERIALIZED (
    SELECT r.* FROM (SELECT * FROM recent WHERE run_no <= $6::int ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT run.run_no, r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms FROM results r
        WHERE r.org_id = $1 AND r.run_key = run.run_key
          AND r.case_key = ANY (ARRAY(SELECT case_key FROM numbered WHERE row_no <= $5::int)) LIMIT $5::int
    ) r
), rare_cases AS MATERIALIZED (  -- that some of the newest runs don't contain; a FULL JOIN is never a nested loop
    SELECT key.case_key, coalesce(counted.results, 0) AS results
    FROM (SELECT case_key FROM numbered WHERE row_no <= $5::int) key
    FULL JOIN (SELECT case_key, count(*)::int AS results FROM newest_results GROUP BY case_key) counted
        ON counted.case_key = key.case_key
    WHERE coalesce(counted.results, 0) < $6::int
), older_results AS MATERIALIZED (
    SELECT r.* FROM (SELECT * FROM recent WHERE run_no > $6::int ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT run.run_no, r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms FROM results r
        WHERE r.org_id = $1 AND r.run_key = run.run_key
          AND r.case_key = ANY (ARRAY(SELECT case_key FROM rare_cases)) LIMIT $5::int
    ) r
), statistics AS MATERIALIZED (
    SELECT
        case_key, count(*)::int AS runs, min(run_no * 256 + status::int) AS last_result, count(*) FILTER (WHERE status IN ('p', 'f', 'e'))::int AS executed,
        count(*) FILTER (WHERE status IN ('f', 'e'))::int AS failing, count(*) FILTER (WHERE flaky)::int AS flaky,
        avg(duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS mean_ms,
        percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS p95_ms
    FROM (
        SELECT run_no, case_key, status, flaky, duration_ms FROM newest_results
        UNION ALL
        SELECT run_no, case_key, status, flaky, duration_ms FROM (
            SELECT older.*, rare.results + row_number() OVER (PARTITION BY older.case_key ORDER BY older.run_no) AS result_no
            FROM older_results older FULL JOIN rare_cases rare ON rare.case_key = older.case_key
        ) numbered_results
        WHERE result_no <= $6::int AND run_no IS NOT NULL
    ) last_results
    GROUP BY case_key
), sized AS MATERIALIZED (
    SELECT suite_hash, case_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT key.suite_hash, key.case_key, key.row_no, row_to_json(listed_case)::text AS item
        FROM (
            SELECT key.*, coalesce(runs, 0) AS runs, chr(last_result % 256)::"char" AS last_status,
                   (ARRAY(SELECT run_key FROM recent ORDER BY run_no))[last_result / 256] AS last_run,
                   coalesce(executed, 0) AS executed, coalesce(failing, 0) AS failing, coalesce(flaky, 0) AS flaky,
                   mean_ms, p95_ms
            FROM (SELECT * FROM numbered WHERE row_no <= $5::int) key
            FULL JOIN statistics ON statistics.case_key = key.case_key
        ) key
        CROSS JOIN LATERAL (SELECT key.*) statistics
        CROSS JOIN LATERAL (
            SELECT * FROM cases c WHERE c.org_id = $1 AND c.case_key = key.case_key LIMIT 1
        ) c
        LEFT JOIN LATERAL (
            SELECT r.run_id, r.completed_at FROM runs r WHERE r.org_id = $1 AND r.run_key = statistics.last_run LIMIT 1
        ) last_run ON true
        CROSS JOIN LATERAL (
            SELECT
                case_public_id(c.case_key) AS id, c.project_id, c.case_id, c.variant, c.suite, c.name, c.file,
                status_name(statistics.last_status) AS last_status, last_run.run_id AS last_run_id,
                rfc3339(last_run.completed_at) AS last_completed_at, statistics.runs, statistics.executed, statistics.failing AS failed,
                statistics.flaky,
                round(statistics.failing::numeric / nullif(statistics.executed, 0), 4) AS failure_rate,
                round(statistics.flaky::numeric / nullif(statistics.executed, 0), 4) AS flaky_rate,
                round(statistics.mean_ms)::int AS mean_duration_ms, statistics.p95_ms AS p95_duration_ms
        ) listed_case
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.suite_hash, page_end.suite_hash) AS suite_hash,
       coalesce(full_page.case_key, page_end.case_key) AS case_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT suite_hash, case_key FROM numbered WHERE row_no = $5::int AND row_count > $5::int
) page_end ON true
LEFT JOIN LATERAL (
    SELECT suite_hash, case_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits)
    ORDER BY row_no DESC LIMIT 1
) full_page ON true;
