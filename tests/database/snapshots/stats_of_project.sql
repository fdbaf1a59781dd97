-- $1 group_by
-- $2 length
-- $3 project_id
-- $4 org_id
-- $5 first_key
-- $6 before_run
-- $7 max_runs

WITH counted AS (
    SELECT CASE $1::text WHEN 'branch' THEN coalesce(r.branch, '') ELSE coalesce(r.environment, '') END AS name,
    date_bin($2::interval, r.completed_at, timestamptz '0001-01-01 00:00:00Z') AS start,
    r.status, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.duration_ms, r.run_key FROM (
        SELECT * FROM runs r WHERE project_id = $3 AND org_id = $4 AND run_key BETWEEN $5 AND $6 AND (r.trusted IS NOT FALSE) ORDER BY run_key DESC LIMIT 20000
    ) r
    LIMIT $7::int
), oldest AS (
    SELECT run_key FROM runs r WHERE project_id = $3 AND org_id = $4 AND run_key BETWEEN $5 AND $6 AND (r.trusted IS NOT FALSE) ORDER BY run_key LIMIT 1
), listed AS (
    SELECT 1 AS group_no, NULL::text AS name
), grouped AS (
    SELECT 1 AS group_no, counted.* FROM counted
), -- The sort by bucket and group, and then the sorts of the durations, are faster than one sort by three keys. An aggregate
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
ORDER BY start, group_no;
