-- $1 org_id
-- $2 run_key
-- $3 case_key
-- $4 first_key
-- $5 before_run
-- $6 project_id

SELECT
    fact.run_key, fact.case_key, c.case_id, c.variant::text AS variant, c.suite, c.name,
    coalesce(fact.file, failure.file, c.file) AS file,
    status_name(fact.status) AS status, fact.flaky, fact.attempts, fact.duration_ms, fact.started_offset_ms,
    nullif(coalesce(fact.summary, failure.summary), '') AS failure_summary,
    coalesce(fact.fingerprint, failure.fingerprint) AS fingerprint,
    r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url,
    r.pipeline, r.title, r.author, r.workflow, r.job_url, r.repository_url, r.labels, status_name(r.status) AS status, r.failures_missing, r.complete,
    r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky,
    r.expected_results, r.expected_shards, r.revision,
    (date_part('epoch', r.started_at) * 1000)::bigint AS started_ms, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms, (date_part('epoch', r.last_completed_at) * 1000)::bigint AS last_completed_ms,
    r.duration_ms, r.results_expired, r.pinned, (r.trusted IS NOT FALSE) AS trusted,
    (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id,
    last_attempt.line, coalesce(last_attempt.properties, '{}') AS properties, last_attempt.logs_ref,
    fact.type, fact.message, fact.details,
    job.part, array_position(job.ranked, fact.shard) AS job_attempt, coalesce(earlier.attempts, passed.attempts) AS attempts
FROM (
    SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, r.shard, shown.* FROM results r
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file, d.type, d.message, d.details FROM result_details d
        WHERE d.org_id = $1 AND d.run_key = $2 AND d.case_key = $3
          AND CASE WHEN r.flaky THEN d.flaky ELSE d.is_last_attempt END
        LIMIT 1
    ) shown ON true
    WHERE r.org_id = $1 AND r.run_key = $2 AND r.case_key = $3
) fact
JOIN runs r ON r.org_id = $1 AND r.run_key = fact.run_key
JOIN cases c ON c.org_id = $1 AND c.case_key = fact.case_key
LEFT JOIN LATERAL (
    SELECT d.summary, d.fingerprint, d.file FROM result_details d
    WHERE fact.summary IS NULL AND (fact.status <> 'p' OR fact.flaky)
      AND d.org_id = $1 AND d.run_key = fact.run_key AND d.case_key = fact.case_key
      AND d.run_key BETWEEN $4 AND $5 AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky) LIMIT 1
) failure ON true
CROSS JOIN LATERAL (
    SELECT r.run_id, r.project_id, r.environment, r.branch, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms
) run
LEFT JOIN LATERAL (
    SELECT d.logs_ref, d.line, d.properties FROM result_details d
    WHERE d.org_id = $1 AND d.run_key = $2 AND d.case_key = $3 AND d.is_last_attempt
    LIMIT 1
) last_attempt ON true
CROSS JOIN LATERAL (  -- the numbers of the attempts of the part that decides; only a part with such a number has attempts
    SELECT nullif(max(deciding.name), '') AS part, array_agg(part.number ORDER BY part.attempt) AS numbers,
           array_agg(part.number ORDER BY part.attempt) FILTER (WHERE part.attempt > 0) AS ranked
    FROM run_parts deciding
    JOIN run_parts part ON part.org_id = $1 AND part.run_key = $2 AND part.name = deciding.name
                           AND part.variant = deciding.variant AND part.shard = deciding.shard
    WHERE fact.shard > 10000 AND deciding.org_id = $1 AND deciding.run_key = $2
          AND deciding.number = fact.shard
) job
CROSS JOIN LATERAL (  -- the fields of AttemptRow
    SELECT jsonb_agg(
        jsonb_build_array(d.attempt, status_name(d.status), known_duration(d.duration_ms),
             run.completed_ms + nullif(d.started_offset_ms, (-2147483648)::int), d.type, d.message, d.details, d.logs_ref,
             array_position(job.ranked, d.shard)) ORDER BY d.attempt) AS attempts
    FROM result_details d
    WHERE d.org_id = $1 AND d.run_key = $2 AND d.case_key = $3
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
        WHERE fact.attempts > 1 AND fact.shard > 10000 AND s.org_id = $1 AND s.run_key = $2
              AND s.case_key = $3 AND s.shard = ANY (job.numbers)
              AND s.result ->> 'status' = fact.status::text  -- not an attempt that skipped the case
    ) attempt
) passed
WHERE $6::text IS NULL OR r.project_id = $6;
