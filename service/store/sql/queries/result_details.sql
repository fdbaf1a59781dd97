-- One result with its run, its failure, and its attempts.

-- name: one_result  (the fields of the result and of its run, and the other fields of ResultDetailRow; each table by the parameters, so that the executor
-- opens only the partition of the run; :first_key and :before_run are the key of the run)
SELECT
    {result_fields},
    {run_fields},
    {organization_id},
    last_attempt.line, coalesce(last_attempt.properties, '{}') AS properties, last_attempt.logs_ref,
    fact.type, fact.message, fact.details,
    job.part, array_position(job.ranked, fact.shard) AS job_attempt, coalesce(earlier.attempts, passed.attempts) AS attempts
FROM (
    SELECT {fact_columns}, r.shard, shown.* FROM results r
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file, d.type, d.message, d.details FROM result_details d
        WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key
          AND CASE WHEN r.flaky THEN d.flaky ELSE d.is_last_attempt END
        LIMIT 1
    ) shown ON true
    WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = :case_key
) fact
JOIN runs r ON r.org_id = :org_id AND r.run_key = fact.run_key
JOIN cases c ON c.org_id = :org_id AND c.case_key = fact.case_key
{failure_of_fact}
CROSS JOIN LATERAL (
    SELECT r.run_id, r.project_id, r.environment, r.branch, {completed_ms} AS completed_ms
) run
LEFT JOIN LATERAL (
    SELECT d.logs_ref, d.line, d.properties FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key AND d.is_last_attempt
    LIMIT 1
) last_attempt ON true
CROSS JOIN LATERAL (  -- the numbers of the attempts of the part that decides; only a part with such a number has attempts
    SELECT nullif(max(deciding.name), '') AS part, array_agg(part.number ORDER BY part.attempt) AS numbers,
           array_agg(part.number ORDER BY part.attempt) FILTER (WHERE part.attempt > 0) AS ranked
    FROM run_parts deciding
    JOIN run_parts part ON part.org_id = :org_id AND part.run_key = :run_key AND part.name = deciding.name
                           AND part.variant = deciding.variant AND part.shard = deciding.shard
    WHERE fact.shard > 10000 AND deciding.org_id = :org_id AND deciding.run_key = :run_key
          AND deciding.number = fact.shard
) job
CROSS JOIN LATERAL (  -- the fields of AttemptRow
    SELECT jsonb_agg(
        jsonb_build_array(d.attempt, status_name(d.status), known_duration(d.duration_ms),
             run.completed_ms + nullif(d.started_offset_ms, (-2147483648)::int), d.type, d.message, d.details, d.logs_ref,
             array_position(job.ranked, d.shard)) ORDER BY d.attempt) AS attempts
    FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key
) earlier
CROSS JOIN LATERAL (  -- if all attempts of the job passed, no execution has details
    SELECT jsonb_agg(
        jsonb_build_array(number, status_name(fact.status), known_duration(duration_ms),
             run.completed_ms + nullif(started_offset_ms, (-2147483648)::int), NULL, NULL, NULL, NULL,
             array_position(job.ranked, shard)) ORDER BY number) AS attempts
    FROM (
        SELECT row_number() OVER (ORDER BY array_position(job.numbers, s.shard)) AS number, s.shard,
               (s.result -> 'duration_ms')::int AS duration_ms, (s.result -> 'started_offset_ms')::int AS started_offset_ms
        FROM shard_results s
        WHERE fact.attempts > 1 AND fact.shard > 10000 AND s.org_id = :org_id AND s.run_key = :run_key
              AND s.case_key = :case_key AND s.shard = ANY (job.numbers)
              AND s.result ->> 'status' = fact.status::text  -- not an attempt that skipped the case
    ) attempt
) passed
WHERE :project_id::text IS NULL OR r.project_id = :project_id
