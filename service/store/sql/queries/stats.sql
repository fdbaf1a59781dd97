-- Statistics about runs, as fragments (see results.sql).

-- name: stats  (of the newest {max_runs} runs in the range)
-- The sort by bucket and group, and then the sorts of the durations, are faster than one sort by three keys. An aggregate
-- of arrays without a sort would use files for more than 1,000 groups, because PostgreSQL estimates 8 kB for each array.
WITH {grouped_runs}, buckets AS MATERIALIZED (
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
           WHERE org_id = :org_id AND {driver} AND run_key BETWEEN :first_key AND :before_run
           ORDER BY run_key DESC OFFSET {max_runs} - 1 LIMIT 2
       ) AS last_runs

-- name: read_columns  (0001-01-01 is a Monday: FIRST_MONDAY_MS in service/domain/stats.py)
date_bin(:length::interval, r.completed_at, timestamptz '0001-01-01 00:00:00Z') AS start,
r.status, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.duration_ms

-- name: ungrouped_runs
grouped AS (
    SELECT 1 AS group_no, {read_columns} FROM (
        {candidates}
    ) r
), names AS (
    SELECT 1 AS group_no, 'null' AS group_name
)

-- name: runs_of_groups  (`group_no` is in the order of the names; the groups that have the fewest runs are the last one together)
newest AS MATERIALIZED (
    SELECT {grouping} AS name, {read_columns} FROM (
        {candidates}
    ) r
), largest AS MATERIALIZED (
    SELECT name, row_number() OVER () AS rank, count(*) OVER () AS name_count FROM (
        SELECT name FROM newest GROUP BY name ORDER BY count(*) DESC, name COLLATE "C" LIMIT {max_groups} + 1
    ) largest
), listed AS MATERIALIZED (
    SELECT name, row_number() OVER (ORDER BY name COLLATE "C") AS group_no FROM largest
    WHERE name_count <= {max_groups} OR rank < {max_groups}
), names AS MATERIALIZED (
    SELECT group_no, to_json(name)::text AS group_name FROM listed
    UNION ALL SELECT {max_groups}, 'null' FROM largest WHERE rank > {max_groups}
), grouped AS (
    SELECT coalesce(listed.group_no, {max_groups}) AS group_no, newest.* FROM newest LEFT JOIN listed USING (name)
)

-- name: grouping_branch
coalesce(r.branch, '')

-- name: grouping_environment
coalesce(r.environment, '')

-- name: candidates  (the newest runs in one range of an index, which {driver} chooses)
SELECT * FROM runs
WHERE org_id = :org_id AND {driver} AND run_key BETWEEN :first_key AND :before_run
ORDER BY run_key DESC LIMIT {run_budget}

-- name: driver_project
project_id = :project_id

-- name: driver_any
true
