-- Statistics about the newest trusted runs of a range: one statement for each index that yields them, without and with
-- groups. A statement without groups reads the runs once, which takes half the time.

-- name: stats_of_organization
WITH {counted_runs}, {ungrouped_runs}, {buckets_of_runs}

-- name: stats_of_project
WITH {counted_runs_of_project}, {ungrouped_runs}, {buckets_of_runs}

-- name: grouped_stats_of_organization
WITH {counted_runs}, {grouped_runs}, {buckets_of_runs}

-- name: grouped_stats_of_project
WITH {counted_runs_of_project}, {grouped_runs}, {buckets_of_runs}

-- name: counted_runs
--     (the newest :max_runs runs; `oldest` is the oldest run of the range: if it isn't counted, the range has more runs)
counted AS (
    SELECT {counted_fields} FROM (
        SELECT * FROM runs r WHERE {is_in_range} ORDER BY run_key DESC LIMIT {stats.MAX_RUNS}
    ) r
    LIMIT :max_runs::int
), oldest AS (
    SELECT run_key FROM runs r WHERE {is_in_range} ORDER BY run_key LIMIT 1
)

-- name: counted_runs_of_project  (see counted_runs)
counted AS (
    SELECT {counted_fields} FROM (
        SELECT * FROM runs r WHERE project_id = :project_id AND {is_in_range} ORDER BY run_key DESC LIMIT {stats.MAX_RUNS}
    ) r
    LIMIT :max_runs::int
), oldest AS (
    SELECT run_key FROM runs r WHERE project_id = :project_id AND {is_in_range} ORDER BY run_key LIMIT 1
)

-- name: is_in_range  (a condition of trusted runs)
org_id = :org_id AND run_key BETWEEN :first_key AND :before_run AND {is_trusted}

-- name: counted_fields  (0001-01-01 is a Monday: FIRST_MONDAY_MS in service/stats/model.py)
CASE :group_by::text WHEN 'branch' THEN coalesce(r.branch, '') ELSE coalesce(r.environment, '') END AS name,
date_bin(:length::interval, r.completed_at, timestamptz '0001-01-01 00:00:00Z') AS start,
r.status, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.duration_ms, r.run_key

-- name: ungrouped_runs
listed AS (
    SELECT 1 AS group_no, NULL::text AS name
), grouped AS (
    SELECT 1 AS group_no, counted.* FROM counted
)

-- name: grouped_runs  (`group_no` is in the order of the names; the groups that have the fewest runs are the last one together)
largest AS MATERIALIZED (
    SELECT name, row_number() OVER () AS rank, count(*) OVER () AS name_count FROM (
        SELECT name FROM counted GROUP BY name ORDER BY count(*) DESC, name COLLATE "C" LIMIT {stats.MAX_GROUPS} + 1
    ) largest
), listed AS MATERIALIZED (
    SELECT name, row_number() OVER (ORDER BY name COLLATE "C") AS group_no FROM largest
    WHERE name_count <= {stats.MAX_GROUPS} OR rank < {stats.MAX_GROUPS}
), grouped AS (  -- a FULL JOIN is never a nested loop; every name of `listed` is one of `counted`
    SELECT coalesce(listed.group_no, {stats.MAX_GROUPS}) AS group_no, counted.* FROM counted FULL JOIN listed ON listed.name = counted.name
)

-- name: buckets_of_runs
--     (the constant end: the fields of StatsBucketRow, and the oldest counted run if older ones aren't counted)
-- The sort by bucket and group, and then the sorts of the durations, are faster than one sort by three keys. An aggregate
-- of arrays without a sort would use files for more than 1,000 groups, because PostgreSQL estimates 8 kB for each array.
-- PostgreSQL 15 has no min(uuid).
buckets AS MATERIALIZED (
    SELECT start, group_no, count(*) AS runs, count(*) FILTER (WHERE status IN ('f', 'e')) AS failed_runs,
           ARRAY[sum(passed), sum(failed), sum(error), sum(skipped), sum(canceled), sum(flaky)] AS counts,
           sum(passed)::float8 / nullif(sum(passed) + sum(failed) + sum(error), 0) AS pass_rate,
           percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY duration_ms) AS durations,
           min(run_key::text COLLATE "C") AS oldest_run
    FROM grouped
    GROUP BY start, group_no
)
SELECT (date_part('epoch', start) * 1000)::bigint AS start_ms, listed.name, runs, failed_runs, counts, pass_rate,
       durations[1] AS duration_p50_ms, durations[2] AS duration_p95_ms,
       nullif((SELECT min(oldest_run)::uuid FROM buckets), (SELECT run_key FROM oldest)) AS oldest_run
FROM buckets LEFT JOIN listed USING (group_no)
ORDER BY start, group_no
