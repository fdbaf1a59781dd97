-- Costs: the roll-up of closed days and its merge into months, and the sums of a range.

-- name: mark_changed(org_id, project_id, day)
INSERT INTO cost_changes (org_id, project_id, day) VALUES (:org_id, :project_id, :day)

-- name: find_due(org_id, project_id, closed_before, merged_before, retained_from)
--     (the next step of each project, or of :project_id: roll up a day, roll up a changed day or month again, merge a month)
-- The next day is the first one with results after the rolled-up days. It precedes other steps, so that no day is skipped. The
-- sums of a period stay (`is_kept`) if its results have expired.
SELECT p.project_id, step.start, step.action, step.is_month, step.start < :retained_from::date OR EXISTS (
    SELECT 1 FROM runs r WHERE r.org_id = :org_id AND r.project_id = p.project_id AND r.results_expired
        AND r.run_key >= {first_key_of_step} AND r.run_key < {first_key_after_step}
) AS is_kept
FROM projects p LEFT JOIN LATERAL ({day_after_costs}) following ON true
LEFT JOIN LATERAL (
    SELECT (r.completed_at AT TIME ZONE 'UTC')::date AS day FROM runs r
    WHERE r.org_id = :org_id AND r.project_id = p.project_id AND {is_trusted} AND NOT r.results_expired
          AND r.run_key >= first_run_key(coalesce(following.day, '1970-01-01')::timestamp AT TIME ZONE 'UTC')
          AND r.run_key < first_run_key(:closed_before::date::timestamp AT TIME ZONE 'UTC')
    ORDER BY r.run_key LIMIT 1
) next ON true
CROSS JOIN LATERAL (
    SELECT 1 AS action, next.day AS start, false AS is_month WHERE next.day IS NOT NULL
    UNION ALL (
        SELECT 2, coalesce(month.start, changed.day), month.start IS NOT NULL
        FROM (
            SELECT day FROM cost_changes WHERE org_id = :org_id AND project_id = p.project_id AND day < following.day
            ORDER BY day LIMIT 1
        ) changed LEFT JOIN cost_days month ON month.org_id = :org_id AND month.project_id = p.project_id
            AND month.is_month AND month.start = date_trunc('month', changed.day)::date
    )
    UNION ALL (
        SELECT 3, date_trunc('month', start)::date, true FROM cost_days
        WHERE org_id = :org_id AND project_id = p.project_id AND NOT is_month AND start < :merged_before::date
        ORDER BY start LIMIT 1
    )
    ORDER BY action LIMIT 1
) step
WHERE p.org_id = :org_id AND (:project_id::text IS NULL OR p.project_id = :project_id) AND p.deletion_requested_at IS NULL

-- name: first_key_of_step
first_run_key(step.start::timestamp AT TIME ZONE 'UTC')

-- name: first_key_after_step
first_run_key((step.start + CASE WHEN step.is_month THEN interval '1 month' ELSE interval '1 day' END) AT TIME ZONE 'UTC')

-- name: lock(org_id, project_id)
--     (one roll-up of a project at a time; no row if another process has the lock, or if the project is being deleted)
SELECT pg_try_advisory_xact_lock(hashtextextended(project_id, 0) # org_id) AND deletion_requested_at IS NULL
FROM projects WHERE org_id = :org_id AND project_id = :project_id FOR KEY SHARE

-- name: delete_period(org_id, project_id, first, last)
WITH deleted_changes AS (DELETE FROM cost_changes WHERE {is_in_period_of_changes}),
deleted_cases AS (DELETE FROM case_costs WHERE {is_in_period}),
deleted_jobs AS (DELETE FROM job_costs WHERE {is_in_period})
DELETE FROM cost_days WHERE {is_in_period}

-- name: delete_changes(org_id, project_id, first, last)
DELETE FROM cost_changes WHERE {is_in_period_of_changes}

-- name: is_in_period
org_id = :org_id AND project_id = :project_id AND start BETWEEN :first::date AND :last::date

-- name: is_in_period_of_changes
org_id = :org_id AND project_id = :project_id AND day BETWEEN :first::date AND :last::date

-- name: merge_days(org_id, project_id, first, last)
--     (a row of the first day is deleted before the row of the month, which has the same key, is inserted)
WITH days AS (DELETE FROM cost_days WHERE {is_in_period} RETURNING *),
merged_cases AS (DELETE FROM case_costs WHERE {is_in_period} RETURNING *),
merged_jobs AS (DELETE FROM job_costs WHERE {is_in_period} RETURNING *),
of_cases AS (
    INSERT INTO case_costs (org_id, project_id, start, case_key, {each costs.SUM_COLUMNS: %})
    SELECT :org_id, :project_id, :first::date, case_key, {each costs.SUM_COLUMNS: sum(%)} FROM merged_cases GROUP BY case_key
), of_jobs AS (
    INSERT INTO job_costs (org_id, project_id, start, job, {each costs.SUM_COLUMNS: %})
    SELECT :org_id, :project_id, :first::date, job, {each costs.SUM_COLUMNS: sum(%)} FROM merged_jobs GROUP BY job
)
INSERT INTO cost_days (org_id, project_id, start, is_month, runs, {each costs.SUM_COLUMNS: %})
SELECT :org_id, :project_id, :first::date, true, sum(runs), {each costs.SUM_COLUMNS: sum(%)} FROM days HAVING count(*) > 0

-- name: delete_of_project(org_id, project_id, limit)
WITH deleted_cases AS (
    DELETE FROM case_costs WHERE org_id = :org_id AND project_id = :project_id AND (start, case_key) IN (
        SELECT start, case_key FROM case_costs WHERE org_id = :org_id AND project_id = :project_id LIMIT :limit
    ) RETURNING 1
), deleted_jobs AS (
    DELETE FROM job_costs WHERE org_id = :org_id AND project_id = :project_id AND (start, job) IN (
        SELECT start, job FROM job_costs WHERE org_id = :org_id AND project_id = :project_id LIMIT :limit
    ) RETURNING 1
), deleted_days AS (
    DELETE FROM cost_days WHERE org_id = :org_id AND project_id = :project_id RETURNING 1
), deleted_changes AS (
    DELETE FROM cost_changes WHERE org_id = :org_id AND project_id = :project_id RETURNING 1
)
SELECT (SELECT count(*) FROM deleted_cases) + (SELECT count(*) FROM deleted_jobs) + (SELECT count(*) FROM deleted_days)
       + (SELECT count(*) FROM deleted_changes)

-- name: runs_of_period
SELECT r.run_key FROM runs r
WHERE r.org_id = :org_id AND r.project_id = :project_id AND {is_trusted} AND NOT r.results_expired
      AND r.run_key BETWEEN :first_key AND :before_run

-- name: roll_up  (the results of :run_keys in one pass)
WITH spent AS MATERIALIZED (
    SELECT job, case_key, {each costs.SUM_COLUMNS: sum(%) AS %}
    FROM ({executions}) execution GROUP BY job, case_key
), of_cases AS (
    INSERT INTO case_costs (org_id, project_id, start, case_key, {each costs.SUM_COLUMNS: %})
    SELECT :org_id, :project_id, :first::date, case_key, {each costs.SUM_COLUMNS: sum(%)} FROM spent GROUP BY case_key
), of_jobs AS (
    INSERT INTO job_costs (org_id, project_id, start, job, {each costs.SUM_COLUMNS: %})
    SELECT :org_id, :project_id, :first::date, job, {each costs.SUM_COLUMNS: sum(%)} FROM spent GROUP BY job
)
INSERT INTO cost_days (org_id, project_id, start, is_month, runs, {each costs.SUM_COLUMNS: %})
SELECT :org_id, :project_id, :first::date, :is_month, cardinality(:run_keys::uuid[]), {each costs.SUM_COLUMNS: coalesce(sum(%), 0)}
FROM spent

-- name: executions  (rows that add up to the costs of the results of :run_keys, of each case and each job)
-- A result counts its own duration, and all of its attempts but the last one have none (`stated`). Then follow the differences
-- of the results whose attempts are listed, because a producer states either their sum or the duration of the last one; and,
-- for cases that several parts reported, the differences of all stored outcomes of the parts. Example: of a result of 30 ms
-- with the attempts 20 ms (failed) and 30 ms, the rows are 30 and 20 ms, and the second one has 20 ms of retries.
SELECT counted.run_key, counted.project_id, counted.day, r.case_key, {job_of_result} AS job, {each costs.SUM_COLUMNS: r.%}
FROM ({counted_runs}) counted CROSS JOIN LATERAL (
    SELECT r.case_key, r.shard, (r.status = 'p')::int AS passed, (r.status = 'f')::int AS failed,
           (r.status = 'e')::int AS error, (r.status = 's')::int AS skipped, (r.status = 'c')::int AS canceled,
           r.flaky::int AS flaky, {stated_attempts} AS attempts, {stated_unknown} AS unknown_durations,
           {stated_ms} AS duration_ms, 0::bigint AS retry_ms
    FROM results r WHERE {is_of_counted}
    UNION ALL
    SELECT r.case_key, r.shard, 0, 0, 0, 0, 0, 0, 0,
           {listed_unknown} - {stated_unknown}, greatest(listed.total_ms, {stated_ms}) - {stated_ms}, coalesce(listed.retry_ms, 0)
    FROM (
        SELECT d.case_key, {listed_ms}, sum(d.duration_ms) FILTER (
            WHERE d.duration_ms >= 0 AND d.status IN ('f', 'e') AND NOT d.is_last_attempt
        ) AS retry_ms
        FROM result_details d WHERE d.org_id = :org_id AND d.run_key = counted.run_key
            AND d.run_key BETWEEN :first_key AND :before_run AND NOT EXISTS (
                SELECT 1 FROM shard_results s WHERE s.org_id = :org_id AND s.run_key = counted.run_key
                    AND s.run_key BETWEEN :first_key AND :before_run AND s.case_key = d.case_key)
        GROUP BY d.case_key
    ) listed CROSS JOIN LATERAL (
        SELECT * FROM results r WHERE {is_of_counted} AND r.case_key = listed.case_key LIMIT 1
    ) r
    UNION ALL
    SELECT r.case_key, r.shard, 0, 0, 0, 0, 0, 0, -({stated_attempts}), -({stated_unknown}), -({stated_ms}), 0
    FROM (
        SELECT DISTINCT s.case_key FROM shard_results s WHERE s.org_id = :org_id AND s.run_key = counted.run_key
            AND s.run_key BETWEEN :first_key AND :before_run
    ) combined CROSS JOIN LATERAL (
        SELECT * FROM results r WHERE {is_of_counted} AND r.case_key = combined.case_key LIMIT 1
    ) r
    UNION ALL
    SELECT s.case_key, s.shard, 0, 0, 0, 0, 0, 0, {stated_attempts}, {listed_unknown},
           greatest(listed.total_ms, {stated_ms}), coalesce(listed.retry_ms, 0)
    FROM shard_results s CROSS JOIN LATERAL (
        SELECT (s.result ->> 'status')::"char" AS status, (s.result ->> 'attempt_count')::int AS attempts,
               (s.result ->> 'duration_ms')::int AS duration_ms
    ) r CROSS JOIN LATERAL (
        SELECT {listed_ms}, sum(d.duration_ms) FILTER (
            WHERE d.duration_ms >= 0 AND d.status IN ('f', 'e') AND (d.number < r.attempts OR {is_repeated})
        ) AS retry_ms
        FROM (
            SELECT (attempt ->> 'duration_ms')::int AS duration_ms, (attempt ->> 'status')::"char" AS status,
                   r.attempts - jsonb_array_length(s.result -> 'attempts') + position AS number
            FROM jsonb_array_elements(s.result -> 'attempts') WITH ORDINALITY AS listed (attempt, position)
        ) d
    ) listed
    WHERE s.org_id = :org_id AND s.run_key = counted.run_key AND s.run_key BETWEEN :first_key AND :before_run
) r

-- name: counted_runs
SELECT r.run_key, r.project_id, (r.completed_at AT TIME ZONE 'UTC')::date AS day, part.numbers, part.jobs
FROM unnest(:run_keys::uuid[]) AS requested (run_key) JOIN runs r ON r.org_id = :org_id AND r.run_key = requested.run_key
CROSS JOIN LATERAL (
    SELECT array_agg(number) AS numbers, array_agg(name) AS jobs FROM run_parts p
    WHERE p.org_id = :org_id AND p.run_key = r.run_key AND p.name <> ''
) part
OFFSET 0

-- name: job_of_result  (empty: none)
coalesce(counted.jobs[array_position(counted.numbers, r.shard)], '')

-- name: is_of_counted
r.org_id = :org_id AND r.run_key = counted.run_key AND r.run_key BETWEEN :first_key AND :before_run

-- name: stated_attempts  (a skipped result isn't an execution)
(r.attempts - (r.status = 's')::int)

-- name: stated_unknown
CASE WHEN r.duration_ms < 0 THEN {stated_attempts} ELSE greatest({stated_attempts} - 1, 0) END

-- name: listed_unknown  (none if the result states more than its attempts, because it then states their sum)
CASE WHEN r.duration_ms > coalesce(listed.total_ms, -1) THEN 0 ELSE greatest({stated_attempts} - listed.known, 0) END

-- name: stated_ms
greatest(r.duration_ms, 0)::bigint

-- name: listed_ms
sum(d.duration_ms) FILTER (WHERE d.duration_ms >= 0) AS total_ms,
(count(*) FILTER (WHERE d.duration_ms >= 0 AND d.status <> 's'))::int AS known

-- name: is_repeated  (by a later attempt of the job, which didn't skip the case)
EXISTS (
    SELECT 1 FROM run_parts own JOIN run_parts later
        ON later.org_id = :org_id AND later.run_key = own.run_key AND later.name = own.name AND later.shard = own.shard
            AND later.variant = own.variant AND later.attempt > own.attempt
        JOIN shard_results o ON o.org_id = :org_id AND o.run_key = own.run_key AND o.shard = later.number
            AND o.run_key BETWEEN :first_key AND :before_run AND o.case_key = s.case_key AND o.result ->> 'status' <> 's'
    WHERE own.org_id = :org_id AND own.run_key = s.run_key AND own.number = s.shard
)

-- name: range_of_costs  (CostRange: a range that begins or ends in a merged month contains all of the month)
WITH chosen AS MATERIALIZED (
    SELECT coalesce(min(start) FILTER (WHERE start <= :first::date), :first::date) AS first,
           greatest(:last::date, max((start + interval '1 month')::date - 1)) AS last
    FROM cost_days
    WHERE org_id = :org_id AND {is_of_project} AND is_month
          AND start BETWEEN date_trunc('month', :first::date)::date AND :last::date
), newest AS MATERIALIZED (
    SELECT r.run_key, r.is_open, row_number() OVER newest AS position, sum(r.results) OVER newest AS reached,
           sum(r.results) FILTER (WHERE r.is_open) OVER newest AS open_reached
    FROM projects p LEFT JOIN LATERAL ({day_after_costs}) following ON true CROSS JOIN LATERAL (
        SELECT r.run_key, r.passed + r.failed + r.error + r.skipped + r.canceled AS results,
               r.run_key >= first_run_key(coalesce(following.day, '1970-01-01')::timestamp AT TIME ZONE 'UTC') AS is_open
        FROM runs r
        WHERE r.org_id = :org_id AND r.project_id = p.project_id AND {is_trusted} AND NOT r.results_expired
              AND r.run_key >= first_run_key((SELECT first FROM chosen)::timestamp AT TIME ZONE 'UTC')
              AND r.run_key < first_run_key(((SELECT last FROM chosen) + 1)::timestamp AT TIME ZONE 'UTC')
        ORDER BY r.run_key DESC LIMIT {read_runs} + 1
    ) r
    WHERE p.org_id = :org_id AND (:project_id::text IS NULL OR p.project_id = :project_id)
    WINDOW newest AS (ORDER BY r.run_key DESC)
), open_run AS MATERIALIZED (
    SELECT run_key, open_reached <= {read_budget} AND position <= {read_runs} AS is_read FROM newest WHERE is_open
)
SELECT chosen.first, chosen.last, (
    SELECT coalesce(sum(runs), 0)::bigint FROM cost_days
    WHERE org_id = :org_id AND {is_of_project} AND start BETWEEN chosen.first AND chosen.last
) + (SELECT count(*) FROM open_run WHERE is_read) AS runs, EXISTS (SELECT 1 FROM open_run WHERE NOT is_read) AS truncated,
ARRAY (SELECT run_key FROM open_run WHERE is_read) AS open_runs,
ARRAY (SELECT run_key FROM newest WHERE position <= {costs.MAX_NEWEST_RUNS} AND reached <= {read_budget}) AS newest_runs
FROM chosen

-- name: day_after_costs
SELECT CASE WHEN is_month THEN (start + interval '1 month')::date ELSE start + 1 END AS day FROM cost_days
WHERE org_id = :org_id AND project_id = p.project_id ORDER BY start DESC LIMIT 1

-- name: costs_of_groups  (the constant end; `group_name` is the name of the group of a row, or the names of several groups)
SELECT chosen.name, {each costs.SUM_COLUMNS: sum(s.%)::bigint AS %}
FROM ({costs_of_range}) s CROSS JOIN LATERAL ({group_name}) chosen
GROUP BY chosen.name ORDER BY duration_ms DESC, chosen.name COLLATE "C" LIMIT :page::int

-- name: p95_of_groups  (of the sums of the durations of the results of each of :run_keys, which takes half the time of executions)
SELECT name, percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms, count(*)::int AS runs FROM (
    SELECT s.run_key, chosen.name, sum(s.duration_ms)::bigint AS duration_ms
    FROM (
        SELECT counted.run_key, counted.project_id, r.case_key, {job_of_result} AS job, {stated_ms} AS duration_ms
        FROM ({counted_runs}) counted CROSS JOIN LATERAL (SELECT * FROM results r WHERE {is_of_counted}) r
    ) s CROSS JOIN LATERAL ({group_name}) chosen GROUP BY s.run_key, chosen.name
) run
WHERE name = ANY (:names::text[]) GROUP BY name

-- name: suite_of_case
SELECT c.suite AS name FROM cases c WHERE c.org_id = :org_id AND c.case_key = s.case_key AND {has_owner}

-- name: owner_of_case  (empty: none)
SELECT coalesce(o.owner, '') AS name
FROM (SELECT 1) one LEFT JOIN case_owners o ON o.org_id = :org_id AND o.case_key = s.case_key
WHERE :owner::text IS NULL OR o.owner = :owner

-- name: job_of_row
SELECT s.job AS name

-- name: project_of_row
SELECT s.project_id AS name

-- name: has_owner
(:owner::text IS NULL OR EXISTS (
    SELECT 1 FROM case_owners o WHERE o.org_id = :org_id AND o.case_key = s.case_key AND o.owner = :owner))

-- name: costs_of_cases
SELECT case_key, {each costs.SUM_COLUMNS: sum(%)::bigint AS %} FROM (
    SELECT case_key, {each costs.SUM_COLUMNS: %} FROM case_costs WHERE {is_in_period}
    UNION ALL
    SELECT case_key, {each costs.SUM_COLUMNS: %} FROM ({executions}) execution
) of_case GROUP BY case_key

-- name: costs_of_jobs
SELECT job, {each costs.SUM_COLUMNS: %} FROM job_costs WHERE {is_in_period}
UNION ALL
SELECT job, {each costs.SUM_COLUMNS: %} FROM ({executions}) execution

-- name: costs_of_projects
SELECT project_id, {each costs.SUM_COLUMNS: %} FROM cost_days
WHERE org_id = :org_id AND {is_of_project} AND start BETWEEN :first::date AND :last::date
UNION ALL
SELECT project_id, {each costs.SUM_COLUMNS: %} FROM ({executions}) execution

-- name: costs_of_days
SELECT start, is_month, runs, {each costs.SUM_COLUMNS: %} FROM cost_days WHERE {is_in_period}
UNION ALL
SELECT day, false, count(DISTINCT run_key), {each costs.SUM_COLUMNS: sum(%)::bigint} FROM ({executions}) execution GROUP BY day
ORDER BY start

-- name: costs_of_owners  (the results by bucket)
SELECT date_trunc(:interval, s.day)::date AS start, coalesce(o.owner, '') AS name, {each costs.COUNT_COLUMNS: sum(s.%)::bigint AS %}
FROM (
    SELECT start AS day, case_key, {each costs.COUNT_COLUMNS: %} FROM case_costs WHERE {is_in_period}
    UNION ALL
    SELECT day, case_key, {each costs.COUNT_COLUMNS: %} FROM ({executions}) execution
) s LEFT JOIN case_owners o ON o.org_id = :org_id AND o.case_key = s.case_key
GROUP BY 1, 2

-- name: cases_by_duration  (the first :ranked cases and one more; only those that match the filters are listed)
SELECT c.suite_hash, {case_filters} AS matches, s.* FROM (
    SELECT * FROM ({costs_of_cases}) s WHERE {has_owner} AND {ranks_in_any_state}
    ORDER BY duration_ms DESC, case_key LIMIT :ranked::int + 1
) s JOIN cases c ON c.org_id = :org_id AND c.case_key = s.case_key
ORDER BY s.duration_ms DESC, s.case_key
