-- $1 org_id
-- $2 project_id
-- $3 first_key
-- $4 before_run
-- $5 length

WITH grouped AS (
    SELECT 1 AS group_no, r.status, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.duration_ms, r.completed_at FROM (
        SELECT * FROM runs
        WHERE org_id = $1 AND project_id = $2 AND run_key BETWEEN $3 AND $4
        ORDER BY run_key DESC LIMIT 20000
    ) r
), names AS (
    SELECT 1 AS group_no, 'null' AS group_name
), buckets AS MATERIALIZED (
    SELECT start, group_no, count(*) AS runs, count(*) FILTER (WHERE status IN ('f', 'e')) AS failed_runs,
           sum(passed) AS passed, sum(failed) AS failed, sum(error) AS error, sum(skipped) AS skipped,
           sum(canceled) AS canceled, sum(flaky) AS flaky, min(completed_at) AS first_completed_at,
           array_agg(duration_ms) AS durations, count(duration_ms) AS known_durations  -- unknown durations are the last ones
    FROM (  -- one sort of all durations is faster than percentile_disc(), which sorts those of each bucket
        -- 0001-01-01 is a Monday: FIRST_MONDAY_MS in service/domain/stats.py
        SELECT date_bin($5::interval, completed_at, timestamptz '0001-01-01 00:00:00Z') AS start, grouped.*
        FROM grouped ORDER BY start, group_no, duration_ms
    ) sorted
    GROUP BY start, group_no
), starts AS MATERIALIZED (
    SELECT start, '{"start":"' || rfc3339(start) || '","group":' AS item_start FROM buckets GROUP BY start
), items AS (  -- row_to_json takes twice as long
    SELECT b.start, b.group_no,
           starts.item_start || names.group_name || ',"runs":' || b.runs || ',"failed_runs":' || b.failed_runs
           || ',"passed":' || b.passed || ',"failed":' || b.failed || ',"error":' || b.error || ',"skipped":' || b.skipped
           || ',"canceled":' || b.canceled || ',"flaky":' || b.flaky
           || ',"pass_rate":' || coalesce((b.passed::float8 / nullif(b.passed + b.failed + b.error, 0))::text, 'null')
           || ',"duration_p50_ms":' || coalesce(b.durations[(b.known_durations + 1) / 2]::text, 'null')
           || ',"duration_p95_ms":' || coalesce(b.durations[(19 * b.known_durations + 19) / 20]::text, 'null') || '}' AS item
    FROM buckets b JOIN starts USING (start) JOIN names USING (group_no)
)
SELECT coalesce((SELECT string_agg(item, ',' ORDER BY start, group_no) FROM items), '') AS items,
       (SELECT min(first_completed_at) FROM buckets HAVING sum(runs) = 20000 AND EXISTS (
            SELECT 1 FROM runs
            WHERE org_id = $1 AND project_id = $2 AND run_key BETWEEN $3 AND $4
            ORDER BY run_key DESC OFFSET 20000)) AS read_from;
