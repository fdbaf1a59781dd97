-- $1 org_id
-- $2 project_id
-- $3 first
-- $4 last
-- $5 run_keys
-- $6 first_key
-- $7 before_run
-- $8 page

SELECT chosen.name, sum(s.passed)::bigint AS passed, sum(s.failed)::bigint AS failed, sum(s.error)::bigint AS error,
sum(s.skipped)::bigint AS skipped, sum(s.canceled)::bigint AS canceled, sum(s.flaky)::bigint AS flaky,
sum(s.attempts)::bigint AS attempts, sum(s.unknown_durations)::bigint AS unknown_durations,
sum(s.duration_ms)::bigint AS duration_ms, sum(s.retry_ms)::bigint AS retry_ms
FROM (SELECT job, passed, failed, error, skipped, canceled, flaky, attempts, unknown_durations, duration_ms, retry_ms FROM job_costs WHERE org_id = $1 AND project_id = $2 AND start BETWEEN $3::date AND $4::date
UNION ALL
SELECT job, passed, failed, error, skipped, canceled, flaky, attempts, unknown_durations, duration_ms, retry_ms FROM (-- A result counts its own duration, and all of its attempts but the last one have none (`stated`). Then follow the differences
-- of the results whose attempts are listed, because a producer states either their sum or the duration of the last one; and,
-- for cases that several parts reported, the differences of all stored outcomes of the parts. Example: of a result of 30 ms
-- with the attempts 20 ms (failed) and 30 ms, the rows are 30 and 20 ms, and the second one has 20 ms of retries.
SELECT counted.run_key, counted.project_id, counted.day, r.case_key, coalesce(counted.jobs[array_position(counted.numbers, r.shard)], '') AS job, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.attempts, r.unknown_durations, r.duration_ms, r.retry_ms
FROM (SELECT r.run_key, r.project_id, (r.completed_at AT TIME ZONE 'UTC')::date AS day, part.numbers, part.jobs
FROM unnest($5::uuid[]) AS requested (run_key) JOIN runs r ON r.org_id = $1 AND r.run_key = requested.run_key
CROSS JOIN LATERAL (
    SELECT array_agg(number) AS numbers, array_agg(name) AS jobs FROM run_parts p
    WHERE p.org_id = $1 AND p.run_key = r.run_key AND p.name <> ''
) part
OFFSET 0) counted CROSS JOIN LATERAL (
    SELECT r.case_key, r.shard, (r.status = 'p')::int AS passed, (r.status = 'f')::int AS failed,
           (r.status = 'e')::int AS error, (r.status = 's')::int AS skipped, (r.status = 'c')::int AS canceled,
           r.flaky::int AS flaky, (r.attempts - (r.status = 's')::int) AS attempts, CASE WHEN r.duration_ms < 0 THEN (r.attempts - (r.status = 's')::int) ELSE greatest((r.attempts - (r.status = 's')::int) - 1, 0) END AS unknown_durations,
           greatest(r.duration_ms, 0)::bigint AS duration_ms, 0::bigint AS retry_ms
    FROM results r WHERE r.org_id = $1 AND r.run_key = counted.run_key AND r.run_key BETWEEN $6 AND $7
    UNION ALL
    SELECT r.case_key, r.shard, 0, 0, 0, 0, 0, 0, 0,
           CASE WHEN r.duration_ms > coalesce(listed.total_ms, -1) THEN 0 ELSE greatest((r.attempts - (r.status = 's')::int) - listed.known, 0) END - CASE WHEN r.duration_ms < 0 THEN (r.attempts - (r.status = 's')::int) ELSE greatest((r.attempts - (r.status = 's')::int) - 1, 0) END, greatest(listed.total_ms, greatest(r.duration_ms, 0)::bigint) - greatest(r.duration_ms, 0)::bigint, coalesce(listed.retry_ms, 0)
    FROM (
        SELECT d.case_key, sum(d.duration_ms) FILTER (WHERE d.duration_ms >= 0) AS total_ms,
        (count(*) FILTER (WHERE d.duration_ms >= 0 AND d.status <> 's'))::int AS known, sum(d.duration_ms) FILTER (
            WHERE d.duration_ms >= 0 AND d.status IN ('f', 'e') AND NOT d.is_last_attempt
        ) AS retry_ms
        FROM result_details d WHERE d.org_id = $1 AND d.run_key = counted.run_key
            AND d.run_key BETWEEN $6 AND $7 AND NOT EXISTS (
                SELECT 1 FROM shard_results s WHERE s.org_id = $1 AND s.run_key = counted.run_key
                    AND s.run_key BETWEEN $6 AND $7 AND s.case_key = d.case_key)
        GROUP BY d.case_key
    ) listed CROSS JOIN LATERAL (
        SELECT * FROM results r WHERE r.org_id = $1 AND r.run_key = counted.run_key AND r.run_key BETWEEN $6 AND $7 AND r.case_key = listed.case_key LIMIT 1
    ) r
    UNION ALL
    SELECT r.case_key, r.shard, 0, 0, 0, 0, 0, 0, -((r.attempts - (r.status = 's')::int)), -(CASE WHEN r.duration_ms < 0 THEN (r.attempts - (r.status = 's')::int) ELSE greatest((r.attempts - (r.status = 's')::int) - 1, 0) END), -(greatest(r.duration_ms, 0)::bigint), 0
    FROM (
        SELECT DISTINCT s.case_key FROM shard_results s WHERE s.org_id = $1 AND s.run_key = counted.run_key
            AND s.run_key BETWEEN $6 AND $7
    ) combined CROSS JOIN LATERAL (
        SELECT * FROM results r WHERE r.org_id = $1 AND r.run_key = counted.run_key AND r.run_key BETWEEN $6 AND $7 AND r.case_key = combined.case_key LIMIT 1
    ) r
    UNION ALL
    SELECT s.case_key, s.shard, 0, 0, 0, 0, 0, 0, (r.attempts - (r.status = 's')::int), CASE WHEN r.duration_ms > coalesce(listed.total_ms, -1) THEN 0 ELSE greatest((r.attempts - (r.status = 's')::int) - listed.known, 0) END,
           greatest(listed.total_ms, greatest(r.duration_ms, 0)::bigint), coalesce(listed.retry_ms, 0)
    FROM shard_results s CROSS JOIN LATERAL (
        SELECT (s.result ->> 'status')::"char" AS status, (s.result ->> 'attempt_count')::int AS attempts,
               (s.result ->> 'duration_ms')::int AS duration_ms
    ) r CROSS JOIN LATERAL (
        SELECT sum(d.duration_ms) FILTER (WHERE d.duration_ms >= 0) AS total_ms,
        (count(*) FILTER (WHERE d.duration_ms >= 0 AND d.status <> 's'))::int AS known, sum(d.duration_ms) FILTER (
            WHERE d.duration_ms >= 0 AND d.status IN ('f', 'e') AND (d.number < r.attempts OR EXISTS (
                SELECT 1 FROM run_parts own JOIN run_parts later
                    ON later.org_id = $1 AND later.run_key = own.run_key AND later.name = own.name AND later.shard = own.shard
                        AND later.variant = own.variant AND later.attempt > own.attempt
                    JOIN shard_results o ON o.org_id = $1 AND o.run_key = own.run_key AND o.shard = later.number
                        AND o.run_key BETWEEN $6 AND $7 AND o.case_key = s.case_key AND o.result ->> 'status' <> 's'
                WHERE own.org_id = $1 AND own.run_key = s.run_key AND own.number = s.shard
            ))
        ) AS retry_ms
        FROM (
            SELECT (attempt ->> 'duration_ms')::int AS duration_ms, (attempt ->> 'status')::"char" AS status,
                   r.attempts - jsonb_array_length(s.result -> 'attempts') + position AS number
            FROM jsonb_array_elements(s.result -> 'attempts') WITH ORDINALITY AS listed (attempt, position)
        ) d
    ) listed
    WHERE s.org_id = $1 AND s.run_key = counted.run_key AND s.run_key BETWEEN $6 AND $7
) r) execution) s CROSS JOIN LATERAL (SELECT s.job AS name) chosen
GROUP BY chosen.name ORDER BY duration_ms DESC, chosen.name COLLATE "C" LIMIT $8::int;
