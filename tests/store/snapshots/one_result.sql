-- $1 org_id
-- $2 run_key
-- $3 case_key
-- $4 link_base
-- $5 project_id

-- `rest` has the members that only a single result has.
SELECT run.run_id, run.project_id, run.environment, run.branch, times.completed_ms,
       encode(int8send(c.case_key), 'hex') || '","case_id":' || coalesce(to_json(c.case_id)::text, 'null')
           || ',"variant":' || c.variant || ',"suite":' || to_json(c.suite) || ',"name":' || to_json(c.name)
           || ',"file":' || coalesce(to_json(c.file)::text, 'null') || ',"status":"' AS members,
       -- One text, because each further array of a page needs about 15 µs. result_items.py splits it.
       CASE WHEN fact.status <> 'p' OR fact.flaky OR fact.attempts > 1
            THEN fact.status::text || '|' || fact.flaky::int || '|' || fact.attempts || coalesce('|' || failure.summary, '') END AS outcome, fact.duration_ms, fact.started_offset_ms, row_to_json(item)::text AS rest
FROM results fact
JOIN runs run ON run.org_id = $1 AND run.run_key = fact.run_key
JOIN cases c ON c.org_id = $1 AND c.case_key = fact.case_key
CROSS JOIN LATERAL (
    SELECT
        (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms
    FROM (SELECT run.completed_at) r
) times
LEFT JOIN LATERAL (
    SELECT d.logs_ref, d.line, d.properties, d.fingerprint FROM result_details d
    WHERE d.org_id = $1 AND d.run_key = $2 AND d.case_key = $3 AND d.is_last_attempt
    LIMIT 1
) last_attempt ON true
LEFT JOIN LATERAL (
    SELECT d.type, d.message, d.details, d.summary FROM result_details d
    WHERE d.org_id = $1 AND d.run_key = $2 AND d.case_key = $3
      AND CASE WHEN fact.flaky THEN d.flaky ELSE d.is_last_attempt END
    LIMIT 1
) detail ON true
CROSS JOIN LATERAL (  -- the numbers of the attempts of the part that decides; only a part with such a number has attempts
    SELECT array_agg(part.number ORDER BY part.attempt) AS numbers,
           array_agg(part.number ORDER BY part.attempt) FILTER (WHERE part.attempt > 0) AS ranked
    FROM run_parts deciding
    JOIN run_parts part ON part.org_id = $1 AND part.run_key = $2 AND part.name = deciding.name
                           AND part.variant = deciding.variant AND part.shard = deciding.shard
    WHERE fact.shard > 10000 AND deciding.org_id = $1 AND deciding.run_key = $2
          AND deciding.number = fact.shard
) job
CROSS JOIN LATERAL (
    SELECT json_agg(one ORDER BY one.attempt) AS attempts FROM (
        SELECT
            detail.attempt, status_name(detail.status) AS status,
            known_duration(detail.duration_ms) AS duration_ms,
            rfc3339(known_start(run.completed_at, detail.started_offset_ms)) AS started_at,
            CASE WHEN coalesce(detail.type, detail.message, detail.details) IS NOT NULL
                 THEN json_build_object('type', detail.type, 'message', detail.message, 'details', detail.details) END AS failure, detail.logs_ref, array_position(job.ranked, detail.shard) AS job_attempt
        FROM result_details detail
        WHERE detail.org_id = $1 AND detail.run_key = $2 AND detail.case_key = $3
    ) one
) earlier
CROSS JOIN LATERAL (  -- if all attempts of the job passed, no execution has details
    SELECT json_agg(one ORDER BY one.attempt) AS attempts FROM (
        SELECT row_number() OVER (ORDER BY array_position(job.numbers, detail.shard)) AS attempt,
               status_name(fact.status) AS status,
               known_duration((detail.result -> 'duration_ms')::int) AS duration_ms,
               rfc3339(known_start(run.completed_at, (detail.result -> 'started_offset_ms')::int)) AS started_at,
               NULL AS failure, NULL AS logs_ref, array_position(job.ranked, detail.shard) AS job_attempt
        FROM shard_results detail
        WHERE fact.attempts > 1 AND fact.shard > 10000 AND detail.org_id = $1 AND detail.run_key = $2
              AND detail.case_key = $3 AND detail.shard = ANY (job.numbers)
              AND detail.result ->> 'status' = fact.status::text  -- not an attempt that skipped the case
    ) one
) passed
CROSS JOIN LATERAL (SELECT detail.summary) failure
CROSS JOIN LATERAL (
    SELECT
        last_attempt.line, coalesce(last_attempt.properties, '{}') AS properties, last_attempt.logs_ref,
        CASE WHEN coalesce(detail.type, detail.message, detail.details) IS NOT NULL
             THEN json_build_object('type', detail.type, 'message', detail.message, 'details', detail.details) END AS failure,
        'fp1_' || lpad(to_hex(last_attempt.fingerprint), 16, '0') AS fingerprint,
        coalesce(earlier.attempts, passed.attempts, json_build_array(json_build_object(
            'attempt', 1, 'status', status_name(fact.status), 'duration_ms', known_duration(fact.duration_ms),
            'started_at', rfc3339(known_start(run.completed_at, fact.started_offset_ms)), 'failure', NULL, 'logs_ref', NULL,
            'job_attempt', array_position(job.ranked, fact.shard)))) AS attempt_details,
        (
            SELECT
                ('{"id":' || to_json(r.run_id)
                || ',"organization_id":' || to_json((SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1))
                || ',"run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
                || ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
                || ',"branch":' || coalesce(to_json(r.branch)::text, 'null')
                || ',"base_branch":' || coalesce(to_json(r.base_branch)::text, 'null')
                || ',"commit_sha":' || coalesce(to_json(r.commit_sha)::text, 'null')
                || ',"pull_request":' || coalesce(to_json(r.pull_request)::text, 'null')
                || ',"ci_url":' || coalesce(to_json(r.ci_url)::text, 'null') || ',"labels":' || r.labels
                || ',"status":"' || status_name(r.status) || '","failures_missing":' || r.failures_missing::text
                || ',"complete":' || r.complete::text || ',"counts":{"passed":' || r.passed || ',"failed":' || r.failed
                || ',"error":' || r.error || ',"skipped":' || r.skipped || ',"canceled":' || r.canceled || ',"flaky":' || r.flaky
                || '},"expected_results":' || coalesce(r.expected_results::text, 'null')
                || ',"expected_shards":' || coalesce(r.expected_shards::text, 'null') || ',"revision":' || r.revision
                || ',"started_at":' || coalesce('"' || rfc3339(r.started_at) || '"', 'null')
                || ',"completed_at":"' || rfc3339(r.completed_at) || '","last_completed_at":"' || rfc3339(r.last_completed_at)
                || '","duration_ms":' || coalesce(r.duration_ms::text, 'null')
                || ',"results_expired":' || r.results_expired::text || ',"pinned":' || r.pinned::text || '}')::json
            FROM (SELECT run.*) r
        ) AS run,
        $4::text || '/v1/results/' || result_id(fact.run_key, fact.case_key) || '/artifacts' AS artifacts_url
) item
WHERE fact.org_id = $1 AND fact.run_key = $2 AND fact.case_key = $3
  AND ($5::text IS NULL OR run.project_id = $5);
