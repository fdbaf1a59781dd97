-- $1 suite
-- $2 owner
-- $3 variants
-- $4 words
-- $5 org_id
-- $6 project_id
-- $7 first
-- $8 last
-- $9 run_keys
-- $10 first_key
-- $11 before_run
-- $12 states
-- $13 ranked

SELECT c.suite_hash, ($1::text IS NULL OR c.suite = $1::text) AND ($2::text IS NULL OR $2 = ANY (c.owners))
AND ($3::text[] IS NULL OR c.variant @> ALL ($3::text[]::jsonb[]))
AND ($4::text[] IS NULL OR NOT EXISTS (
    SELECT 1 FROM unnest($4::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AS matches, s.* FROM (
    SELECT * FROM (SELECT case_key, sum(passed)::bigint AS passed, sum(failed)::bigint AS failed, sum(error)::bigint AS error,
    sum(skipped)::bigint AS skipped, sum(canceled)::bigint AS canceled, sum(flaky)::bigint AS flaky,
    sum(attempts)::bigint AS attempts, sum(unknown_durations)::bigint AS unknown_durations,
    sum(duration_ms)::bigint AS duration_ms, sum(retry_ms)::bigint AS retry_ms FROM (
        SELECT case_key, passed, failed, error, skipped, canceled, flaky, attempts, unknown_durations, duration_ms, retry_ms FROM case_costs WHERE org_id = $5 AND project_id = $6 AND start BETWEEN $7::date AND $8::date
        UNION ALL
        SELECT case_key, passed, failed, error, skipped, canceled, flaky, attempts, unknown_durations, duration_ms, retry_ms FROM (-- A result counts its own duration, and all of its attempts but the last one have none (`stated`). Then follow the differences
        -- of the results whose attempts are listed, because a producer states either their sum or the duration of the last one; and,
        -- for cases that several parts reported, the differences of all stored outcomes of the parts. Example: of a result of 30 ms
        -- with the attempts 20 ms (failed) and 30 ms, the rows are 30 and 20 ms, and the second one has 20 ms of retries.
        SELECT counted.run_key, counted.project_id, counted.day, r.case_key, coalesce(counted.jobs[array_position(counted.numbers, r.shard)], '') AS job, r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, r.attempts, r.unknown_durations, r.duration_ms, r.retry_ms
        FROM (SELECT r.run_key, r.project_id, (r.completed_at AT TIME ZONE 'UTC')::date AS day, part.numbers, part.jobs
        FROM unnest($9::uuid[]) AS requested (run_key) JOIN runs r ON r.org_id = $5 AND r.run_key = requested.run_key
        CROSS JOIN LATERAL (
            SELECT array_agg(number) AS numbers, array_agg(name) AS jobs FROM run_parts p
            WHERE p.org_id = $5 AND p.run_key = r.run_key AND p.name <> ''
        ) part
        OFFSET 0) counted CROSS JOIN LATERAL (
            SELECT r.case_key, r.shard, (r.status = 'p')::int AS passed, (r.status = 'f')::int AS failed,
                   (r.status = 'e')::int AS error, (r.status = 's')::int AS skipped, (r.status = 'c')::int AS canceled,
                   r.flaky::int AS flaky, (r.attempts - (r.status = 's')::int) AS attempts, CASE WHEN r.duration_ms < 0 THEN (r.attempts - (r.status = 's')::int) ELSE greatest((r.attempts - (r.status = 's')::int) - 1, 0) END AS unknown_durations,
                   greatest(r.duration_ms, 0)::bigint AS duration_ms, 0::bigint AS retry_ms
            FROM results r WHERE r.org_id = $5 AND r.run_key = counted.run_key AND r.run_key BETWEEN $10 AND $11
            UNION ALL
            SELECT r.case_key, r.shard, 0, 0, 0, 0, 0, 0, 0,
                   CASE WHEN r.duration_ms > coalesce(listed.total_ms, -1) THEN 0 ELSE greatest((r.attempts - (r.status = 's')::int) - listed.known, 0) END - CASE WHEN r.duration_ms < 0 THEN (r.attempts - (r.status = 's')::int) ELSE greatest((r.attempts - (r.status = 's')::int) - 1, 0) END, greatest(listed.total_ms, greatest(r.duration_ms, 0)::bigint) - greatest(r.duration_ms, 0)::bigint, coalesce(listed.retry_ms, 0)
            FROM (
                SELECT d.case_key, sum(d.duration_ms) FILTER (WHERE d.duration_ms >= 0) AS total_ms,
                (count(*) FILTER (WHERE d.duration_ms >= 0 AND d.status <> 's'))::int AS known, sum(d.duration_ms) FILTER (
                    WHERE d.duration_ms >= 0 AND d.status IN ('f', 'e') AND NOT d.is_last_attempt
                ) AS retry_ms
                FROM result_details d WHERE d.org_id = $5 AND d.run_key = counted.run_key
                    AND d.run_key BETWEEN $10 AND $11 AND NOT EXISTS (
                        SELECT 1 FROM shard_results s WHERE s.org_id = $5 AND s.run_key = counted.run_key
                            AND s.run_key BETWEEN $10 AND $11 AND s.case_key = d.case_key)
                GROUP BY d.case_key
            ) listed CROSS JOIN LATERAL (
                SELECT * FROM results r WHERE r.org_id = $5 AND r.run_key = counted.run_key AND r.run_key BETWEEN $10 AND $11 AND r.case_key = listed.case_key LIMIT 1
            ) r
            UNION ALL
            SELECT r.case_key, r.shard, 0, 0, 0, 0, 0, 0, -((r.attempts - (r.status = 's')::int)), -(CASE WHEN r.duration_ms < 0 THEN (r.attempts - (r.status = 's')::int) ELSE greatest((r.attempts - (r.status = 's')::int) - 1, 0) END), -(greatest(r.duration_ms, 0)::bigint), 0
            FROM (
                SELECT DISTINCT s.case_key FROM shard_results s WHERE s.org_id = $5 AND s.run_key = counted.run_key
                    AND s.run_key BETWEEN $10 AND $11
            ) combined CROSS JOIN LATERAL (
                SELECT * FROM results r WHERE r.org_id = $5 AND r.run_key = counted.run_key AND r.run_key BETWEEN $10 AND $11 AND r.case_key = combined.case_key LIMIT 1
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
                            ON later.org_id = $5 AND later.run_key = own.run_key AND later.name = own.name AND later.shard = own.shard
                                AND later.variant = own.variant AND later.attempt > own.attempt
                            JOIN shard_results o ON o.org_id = $5 AND o.run_key = own.run_key AND o.shard = later.number
                                AND o.run_key BETWEEN $10 AND $11 AND o.case_key = s.case_key AND o.result ->> 'status' <> 's'
                        WHERE own.org_id = $5 AND own.run_key = s.run_key AND own.number = s.shard
                    ))
                ) AS retry_ms
                FROM (
                    SELECT (attempt ->> 'duration_ms')::int AS duration_ms, (attempt ->> 'status')::"char" AS status,
                           r.attempts - jsonb_array_length(s.result -> 'attempts') + position AS number
                    FROM jsonb_array_elements(s.result -> 'attempts') WITH ORDINALITY AS listed (attempt, position)
                ) d
            ) listed
            WHERE s.org_id = $5 AND s.run_key = counted.run_key AND s.run_key BETWEEN $10 AND $11
        ) r) execution
    ) of_case GROUP BY case_key) s WHERE ($2::text IS NULL OR EXISTS (
        SELECT 1 FROM case_owners o WHERE o.org_id = $5 AND o.case_key = s.case_key AND o.owner = $2)) AND (case_key IN (SELECT shown.case_key FROM (
        SELECT s.case_key, min(s.state) AS state FROM case_states s WHERE s.org_id = $5 AND s.project_id = $6
        GROUP BY s.case_key
    ) shown WHERE shown.state = ANY ($12::text[]))) IS TRUE
    ORDER BY duration_ms DESC, case_key LIMIT $13::int + 1
) s JOIN cases c ON c.org_id = $5 AND c.case_key = s.case_key
ORDER BY s.duration_ms DESC, s.case_key;
