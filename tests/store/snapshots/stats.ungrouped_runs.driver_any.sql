-- $1 length
-- $2 org_id
-- $3 first_key
-- $4 before_run

-- The sort by bucket and group, and then the sorts of the durations, are faster than one sort by three keys. An aggregate
-- of arrays without a sort would use files for more than 1,000 groups, because PostgreSQL estimates 8 kB for each array.
WITH grouped AS (
    SELECT 1 AS group_no, date_bin($1::interval, r.completed_at, timestamptz '0001-01-01 00:00:00Z') AS start,
    r.status, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.duration_ms FROM (
        SELECT * FROM runs
        WHERE org_id = $2 AND true AND run_key BETWEEN $3 AND $4
        ORDER BY run_key DESC LIMIT 20000
    ) r
), names AS (
    SELECT 1 AS group_no, 'null' AS group_name
), buckets AS MATERIALIZED (
    SELECT start, group_no, count(*) AS runs, count(*) FILTER (WHERE status IN ('f', 'e')) AS failed_runs,
           sum(passed) AS passed, sum(failed) AS failed, sum(error) AS error, sum(skipped) AS skipped,
           sum(canceled) AS canceled, sum(flaky) AS flaky,
           percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms) AS durations
    FROM grouped
    GROUP BY start, group_no
), starts AS MATERIALIZED (
    SELECT start, '{"start":"' || rfc3339(start) || '","group":' AS item_start FROM buckets GROUP BY start
), items AS (  -- row_to_json takes twice as long
    SELECT b.start, b.group_no,
           starts.item_start || names.group_name || ',"runs":' || b.runs || ',"failed_runs":' || b.failed_runs
           || ',"passed":' || b.passed || ',"failed":' || b.failed || ',"error":' || b.error || ',"skipped":' || b.skipped
           || ',"canceled":' || b.canceled || ',"flaky":' || b.flaky
           || ',"pass_rate":' || coalesce((b.passed::float8 / nullif(b.passed + b.failed + b.error, 0))::text, 'null')
           || ',"duration_p50_ms":' || coalesce(b.durations[1]::text, 'null')
           || ',"duration_p95_ms":' || coalesce(b.durations[2]::text, 'null') || '}' AS item
    FROM buckets b JOIN starts USING (start) JOIN names USING (group_no)
)
SELECT coalesce((SELECT string_agg(item, ',' ORDER BY start, group_no) FROM items), '') AS items,
       ARRAY(  -- the oldest run that was read, and the next one, which wasn't
           SELECT run_key FROM runs
           WHERE org_id = $2 AND true AND run_key BETWEEN $3 AND $4
           ORDER BY run_key DESC OFFSET 20000 - 1 LIMIT 2
       ) AS last_runs;
