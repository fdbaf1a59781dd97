-- $1 org_id
-- $2 case_key
-- $3 project_id
-- $4 page
-- $5 runs

WITH original AS MATERIALIZED (
    SELECT * FROM cases
    WHERE org_id = $1 AND case_key = $2 AND project_id = $3
), recent AS MATERIALIZED (SELECT run_key FROM runs WHERE org_id = $1 AND project_id = $3 AND (SELECT true FROM runs untrusted WHERE untrusted.org_id = $1 AND untrusted.run_key = runs.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
ORDER BY run_key DESC LIMIT 200), variant AS MATERIALIZED (
    SELECT c.* FROM original CROSS JOIN LATERAL (
        SELECT * FROM cases c
        WHERE original.case_id IS NOT NULL AND c.org_id = $1 AND c.case_id = original.case_id
          AND c.project_id = original.project_id AND c.trusted
        UNION ALL
        SELECT * FROM (
            SELECT * FROM cases c
            WHERE original.case_id IS NULL AND c.org_id = $1 AND c.project_id = original.project_id
              AND c.suite_hash = original.suite_hash AND c.trusted
            ORDER BY c.case_key LIMIT 20000
        ) of_suite
        WHERE (suite, name, occurrence) = (original.suite, original.name, original.occurrence) AND case_id IS NULL
    ) c
    WHERE c.case_key <> original.case_key
    ORDER BY c.variant, c.case_key LIMIT $4::int
)
SELECT
    c.case_key, c.project_id, c.case_id, c.variant, c.suite, c.name, c.file,
    status_name(statistics.last_status) AS last_status, last_run.run_id AS last_run_id, last_run.completed_ms AS last_completed_ms,
    statistics.runs, statistics.executed, statistics.failing AS failed, statistics.flaky,
    round(statistics.failing::numeric / nullif(statistics.executed, 0), 4)::float8 AS failure_rate,
    round(statistics.flaky::numeric / nullif(statistics.executed, 0), 4)::float8 AS flaky_rate,
    round(statistics.mean_ms)::int AS mean_duration_ms, statistics.p95_ms AS p95_duration_ms, c.trusted, c.owners
FROM variant c
CROSS JOIN LATERAL (
    SELECT
        count(run_key)::int AS runs, (array_agg(status))[1] AS last_status, (array_agg(run_key))[1] AS last_run, count(*) FILTER (WHERE status IN ('p', 'f', 'e'))::int AS executed,
        count(*) FILTER (WHERE status IN ('f', 'e'))::int AS failing, count(*) FILTER (WHERE flaky)::int AS flaky,
        avg(duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS mean_ms,
        percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS p95_ms
    FROM (
        SELECT r.run_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms
        FROM recent CROSS JOIN LATERAL (
            SELECT run_key, status, flaky, duration_ms FROM results r
            WHERE r.org_id = $1 AND r.run_key = recent.run_key AND r.case_key = c.case_key LIMIT 1
        ) r
        LIMIT $5::int
    ) last_results
) statistics
LEFT JOIN LATERAL (
    SELECT r.run_id, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms FROM runs r
    WHERE r.org_id = $1 AND r.run_key = statistics.last_run LIMIT 1
) last_run ON true
ORDER BY c.variant, c.case_key;
