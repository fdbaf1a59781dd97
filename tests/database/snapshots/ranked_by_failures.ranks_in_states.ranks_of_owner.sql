-- $1 branch
-- $2 org_id
-- $3 project_id
-- $4 first_key
-- $5 before_run
-- $6 runs
-- $7 row_budget
-- $8 states
-- $9 owner
-- $10 ranked
-- $11 suite
-- $12 variants
-- $13 words
-- $14 page

WITH newest_run AS MATERIALIZED (
    SELECT run_key, failed, error, flaky, row_number() OVER ()::int AS run_no FROM ((SELECT * FROM runs r
     WHERE $1::text IS NULL AND org_id = $2 AND project_id = $3
           AND run_key BETWEEN $4 AND $5 AND (r.trusted IS NOT FALSE)
     ORDER BY run_key DESC LIMIT 2000 + 1)
    UNION ALL
    (SELECT * FROM runs r
     WHERE org_id = $2 AND project_id = $3 AND branch = $1
           AND run_key BETWEEN $4 AND $5 AND (r.trusted IS NOT FALSE)
     ORDER BY run_key DESC LIMIT 2000 + 1)) newest LIMIT $6::int
), found AS MATERIALIZED (
    SELECT run.run_no, result.case_key, 1 AS value
    FROM (SELECT * FROM newest_run ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT d.case_key
        FROM unnest(CASE WHEN run.failed + run.error > 0 THEN '{f,e}' END::"char"[]) AS failing (status) CROSS JOIN LATERAL (
            SELECT d.case_key FROM result_details d
            WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
              AND d.run_key = run.run_key AND d.run_key BETWEEN $4 AND $5
            ORDER BY d.case_key LIMIT 20000 + 1
        ) d
    ) result
    LIMIT $7::int + 1
), unread AS (
    SELECT false AS has_runs
), -- Each row also has `truncated`. Without ranked cases, it is in a row without a case.
first_unread AS MATERIALIZED (  -- the rows of the first run always count
    SELECT greatest(run_no, 2) AS run_no FROM found OFFSET $7::int
), recent AS MATERIALIZED (
    SELECT run_no, run_key FROM newest_run
    WHERE run_no < coalesce((SELECT run_no FROM first_unread), 2000 + 1) ORDER BY run_no
), ranked AS MATERIALIZED (
    SELECT * FROM (
        SELECT case_key, sum(value) AS value, min(run_no) AS newest FROM found
        WHERE run_no < coalesce((SELECT run_no FROM first_unread), 2000 + 1) AND (case_key IN (SELECT shown.case_key FROM (
            SELECT s.case_key, min(s.state) AS state FROM case_states s WHERE s.org_id = $2 AND s.project_id = $3
            GROUP BY s.case_key
        ) shown WHERE shown.state = ANY ($8::text[]))) IS TRUE
        GROUP BY case_key ORDER BY value DESC, newest, case_key OFFSET 0
    ) found_case
    WHERE (case_key IN (
        SELECT o.case_key FROM case_owners o
        WHERE o.org_id = $2 AND o.owner = $9 AND o.project_id = $3 LIMIT 20000
    )) IS TRUE LIMIT $10::int + 1
), listed AS MATERIALIZED (
    SELECT case_key, row_number() OVER ()::int AS rank FROM (
        SELECT ranked.case_key
        FROM (SELECT case_key FROM ranked LIMIT $10::int) ranked CROSS JOIN LATERAL (
            SELECT 1 FROM cases c WHERE c.org_id = $2 AND c.case_key = ranked.case_key
              AND ($11::text IS NULL OR c.suite = $11::text) AND ($9::text IS NULL OR $9 = ANY (c.owners))
              AND ($12::text[] IS NULL OR c.variant @> ALL ($12::text[]::jsonb[]))
              AND ($13::text[] IS NULL OR NOT EXISTS (
                  SELECT 1 FROM unnest($13::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) LIMIT 1
        ) matching
        LIMIT $14::int
    ) listed
), statistics AS MATERIALIZED (
    SELECT
        case_key, count(run_key)::int AS runs, (array_agg(status))[1] AS last_status, (array_agg(run_key))[1] AS last_run, count(*) FILTER (WHERE status IN ('p', 'f', 'e'))::int AS executed,
        count(*) FILTER (WHERE status IN ('f', 'e'))::int AS failing, count(*) FILTER (WHERE flaky)::int AS flaky,
        avg(duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS mean_ms,
        percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS p95_ms
    FROM (  -- one scan per run
        SELECT recent.run_key, r.case_key, r.status, r.flaky, r.duration_ms FROM recent CROSS JOIN LATERAL (
            SELECT r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms FROM results r
            WHERE r.org_id = $2 AND r.run_key = recent.run_key AND r.run_key BETWEEN $4 AND $5
              AND r.case_key = ANY (ARRAY(SELECT case_key FROM listed)) LIMIT $14::int
        ) r
        ORDER BY r.case_key, recent.run_no
    ) listed_results
    GROUP BY case_key
)
SELECT listed_case.*, search.truncated
FROM (
    SELECT unread.has_runs OR EXISTS (SELECT 1 FROM first_unread)
           OR (SELECT count(*) < $14::int FROM listed) AND (SELECT count(*) > $10::int FROM ranked) AS truncated
    FROM unread
) search
LEFT JOIN LATERAL (
    SELECT
        c.case_key, c.project_id, c.case_id, c.variant, c.suite, c.name, c.file,
        status_name(statistics.last_status) AS last_status, last_run.run_id AS last_run_id, last_run.completed_ms AS last_completed_ms,
        statistics.runs, statistics.executed, statistics.failing AS failed, statistics.flaky,
        round(statistics.failing::numeric / nullif(statistics.executed, 0), 4)::float8 AS failure_rate,
        round(statistics.flaky::numeric / nullif(statistics.executed, 0), 4)::float8 AS flaky_rate,
        round(statistics.mean_ms)::int AS mean_duration_ms, statistics.p95_ms AS p95_duration_ms, c.trusted, c.owners,
        key.rank
    FROM listed key JOIN statistics ON statistics.case_key = key.case_key
    CROSS JOIN LATERAL (
        SELECT * FROM cases c WHERE c.org_id = $2 AND c.case_key = key.case_key LIMIT 1
    ) c
    LEFT JOIN LATERAL (
        SELECT r.run_id, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms FROM runs r
        WHERE r.org_id = $2 AND r.run_key = statistics.last_run LIMIT 1
    ) last_run ON true
) listed_case ON true
ORDER BY listed_case.rank;
