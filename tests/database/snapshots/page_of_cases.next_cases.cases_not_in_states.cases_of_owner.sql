-- $1 branch
-- $2 org_id
-- $3 project_id
-- $4 first_key
-- $5 before_run
-- $6 owner
-- $7 states
-- $8 suite
-- $9 after_suite
-- $10 after_case
-- $11 page
-- $12 runs

WITH recent AS MATERIALIZED (
    SELECT run_key, row_number() OVER ()::int AS run_no FROM (SELECT run_key FROM (
        (SELECT run_key FROM runs
         WHERE $1::text IS NULL AND org_id = $2 AND project_id = $3
               AND run_key BETWEEN $4 AND $5 AND (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = runs.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
         ORDER BY run_key DESC LIMIT 200)
        UNION ALL
        (SELECT run_key FROM runs
         WHERE org_id = $2 AND project_id = $3 AND branch = $1
               AND run_key BETWEEN $4 AND $5 AND (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = runs.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
         ORDER BY run_key DESC LIMIT 200)
    ) filtered) newest
), listed AS MATERIALIZED (
    SELECT c.suite_hash, c.case_key FROM (SELECT * FROM (
        SELECT owned_case.* FROM (
            SELECT o.case_key FROM case_owners o
            WHERE o.org_id = $2 AND o.owner = $6 AND o.project_id = $3 OFFSET 0
        ) owned CROSS JOIN LATERAL (
            SELECT * FROM cases c WHERE c.org_id = $2 AND c.case_key = owned.case_key LIMIT 1
        ) owned_case
    ) c WHERE c.org_id = $2 AND c.case_key NOT IN (SELECT shown.case_key FROM (
        SELECT s.case_key, min(s.state) AS state FROM case_states s WHERE s.org_id = $2 AND s.project_id = $3
        GROUP BY s.case_key
    ) shown WHERE shown.state = ANY ($7::text[]))) c
    WHERE -- The range of hashes is a CASE because row-level security prevents COALESCE from being an index condition.
    c.org_id = $2 AND c.project_id = $3 AND c.trusted
    AND c.suite_hash BETWEEN CASE WHEN $8::text IS NULL THEN -9223372036854775808 ELSE hashtextextended($8::text, 0) END
                         AND CASE WHEN $8::text IS NULL THEN 9223372036854775807 ELSE hashtextextended($8::text, 0) END
    AND (c.suite_hash, c.case_key) > ($9::bigint, $10::bigint)
    AND ($8::text IS NULL OR c.suite = $8::text) AND ($6::text IS NULL OR $6 = ANY (c.owners))
    ORDER BY c.suite_hash, c.case_key LIMIT $11::int + 1
), newest_results AS MATERIALIZED (  -- one scan of each run for all cases; LIMIT keeps the planner from scanning
    SELECT r.* FROM (SELECT * FROM recent WHERE run_no <= $12::int ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT run.run_no, r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms FROM results r
        WHERE r.org_id = $2 AND r.run_key = run.run_key AND r.run_key BETWEEN $4 AND $5
          AND r.case_key = ANY (ARRAY(SELECT case_key FROM listed)) LIMIT $11::int + 1
    ) r
), rare_cases AS MATERIALIZED (  -- that some of the newest runs don't contain; a FULL JOIN is never a nested loop
    SELECT listed.case_key, coalesce(counted.results, 0) AS results
    FROM listed
    FULL JOIN (SELECT case_key, count(*)::int AS results FROM newest_results GROUP BY case_key) counted
        ON counted.case_key = listed.case_key
    WHERE coalesce(counted.results, 0) < $12::int
), older_results AS MATERIALIZED (
    SELECT r.* FROM (SELECT * FROM recent WHERE run_no > $12::int ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT run.run_no, r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms FROM results r
        WHERE r.org_id = $2 AND r.run_key = run.run_key AND r.run_key BETWEEN $4 AND $5
          AND r.case_key = ANY (ARRAY(SELECT case_key FROM rare_cases)) LIMIT $11::int + 1
    ) r
), counted AS MATERIALIZED (
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
        WHERE result_no <= $12::int AND run_no IS NOT NULL
    ) last_results
    GROUP BY case_key
)
SELECT
    c.case_key, c.project_id, c.case_id, c.variant, c.suite, c.name, c.file,
    status_name(statistics.last_status) AS last_status, last_run.run_id AS last_run_id, last_run.completed_ms AS last_completed_ms,
    statistics.runs, statistics.executed, statistics.failing AS failed, statistics.flaky,
    round(statistics.failing::numeric / nullif(statistics.executed, 0), 4)::float8 AS failure_rate,
    round(statistics.flaky::numeric / nullif(statistics.executed, 0), 4)::float8 AS flaky_rate,
    round(statistics.mean_ms)::int AS mean_duration_ms, statistics.p95_ms AS p95_duration_ms, c.trusted, c.owners,
    statistics.suite_hash
FROM (
    SELECT listed.*, coalesce(runs, 0) AS runs, chr(last_result % 256)::"char" AS last_status,
           (ARRAY(SELECT run_key FROM recent ORDER BY run_no))[last_result / 256] AS last_run,
           coalesce(executed, 0) AS executed, coalesce(failing, 0) AS failing, coalesce(flaky, 0) AS flaky, mean_ms, p95_ms
    FROM listed FULL JOIN counted ON counted.case_key = listed.case_key
) statistics
CROSS JOIN LATERAL (
    SELECT * FROM cases c WHERE c.org_id = $2 AND c.case_key = statistics.case_key LIMIT 1
) c
LEFT JOIN LATERAL (
    SELECT r.run_id, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms FROM runs r
    WHERE r.org_id = $2 AND r.run_key = statistics.last_run LIMIT 1
) last_run ON true
ORDER BY statistics.suite_hash, statistics.case_key;
