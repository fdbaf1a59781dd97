-- $1 org_id
-- $2 first_key
-- $3 before_run
-- $4 length

WITH examined AS MATERIALIZED (
    SELECT r.run_key, '' AS name, r.status, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky,
           r.duration_ms, r.completed_at
    FROM (
        SELECT * FROM runs
        WHERE org_id = $1 AND true AND run_key BETWEEN $2 AND $3
        ORDER BY run_key DESC LIMIT 20001
    ) r
), newest AS (
    SELECT * FROM examined LIMIT 20000
), ranked AS (
    SELECT name, row_number() OVER (ORDER BY count(*) DESC, name COLLATE "C") AS rank, count(*) OVER () AS group_count
    FROM newest GROUP BY name
), groups AS MATERIALIZED (  -- group_no 0: the groups that have the fewest runs, together
    SELECT name, CASE WHEN group_count <= 20 OR rank < 20 THEN rank ELSE 0 END AS group_no FROM ranked
), buckets AS (
    -- 0001-01-01 is a Monday: FIRST_MONDAY_MS in service/domain/stats.py
    SELECT date_bin($4::interval, completed_at, timestamptz '0001-01-01 00:00:00Z') AS start, group_no,
           count(*) AS runs, count(*) FILTER (WHERE status IN ('f', 'e')) AS failed_runs, sum(passed) AS passed,
           sum(failed) AS failed, sum(error) AS error, sum(skipped) AS skipped, sum(canceled) AS canceled,
           sum(flaky) AS flaky, percentile_disc('{0.5,0.95}'::float8[]) WITHIN GROUP (ORDER BY duration_ms) AS durations
    FROM newest JOIN groups USING (name)
    GROUP BY start, group_no
), items AS (
    SELECT b.start, g.name, row_to_json(item) AS item
    FROM buckets b LEFT JOIN groups g ON g.group_no = b.group_no AND g.group_no > 0
    CROSS JOIN LATERAL (
        SELECT rfc3339(b.start) AS start, null AS group, b.runs, b.failed_runs, b.passed, b.failed, b.error,
               b.skipped, b.canceled, b.flaky,
               b.passed::float8 / nullif(b.passed + b.failed + b.error, 0) AS pass_rate,
               b.durations[1] AS duration_p50_ms, b.durations[2] AS duration_p95_ms
    ) item
)
SELECT '[' || coalesce((SELECT string_agg(item::text, ',' ORDER BY start, name COLLATE "C" NULLS LAST) FROM items), '') || ']' AS data,
       (SELECT last_run.completed_at FROM (SELECT completed_at FROM examined OFFSET 20000 - 1 LIMIT 1) last_run
        WHERE EXISTS (SELECT 1 FROM examined OFFSET 20000)) AS read_from;
