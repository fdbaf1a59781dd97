-- The statement of version 0.9.0, which the query benchmark compares with the current one.
-- $1 link_base
-- $2 org_id
-- $3 run_key
-- $4 case_key
-- $5 project_id

SELECT row_to_json(item)::text
FROM (
    SELECT
        result_id(fact.run_key, fact.case_key) AS id, run.run_id, run.project_id, run.environment, run.branch,
        case_public_id(fact.case_key) AS "case", test_case.case_id, test_case.variant, test_case.suite, test_case.name, test_case.file,
        status_name(fact.status) AS status, fact.flaky, fact.attempts, known_duration(fact.duration_ms) AS duration_ms,
        rfc3339(known_start(run.completed_at, fact.started_offset_ms)) AS started_at, rfc3339(run.completed_at) AS completed_at,
        CASE WHEN fact.status <> 'p' THEN detail.summary END AS failure_summary,
        detail.line, coalesce(detail.properties, '{}') AS properties, detail.logs_ref,
        CASE WHEN coalesce(detail.type, detail.message, detail.details) IS NOT NULL
             THEN json_build_object('type', detail.type, 'message', detail.message, 'details', detail.details) END AS failure,
        coalesce(earlier.attempts, json_build_array(json_build_object(
            'attempt', 1, 'status', status_name(fact.status), 'duration_ms', known_duration(fact.duration_ms),
            'started_at', rfc3339(known_start(run.completed_at, fact.started_offset_ms)), 'failure', NULL, 'logs_ref', NULL))) AS attempt_details,
        (SELECT row_to_json(run_object) FROM (
            SELECT
                r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url, r.labels,
                status_name(r.status) AS status, r.failures_missing, r.complete, run_counts(r) AS counts,
                r.expected_results, r.expected_shards, r.revision, rfc3339(r.started_at) AS started_at,
                rfc3339(r.completed_at) AS completed_at, rfc3339(r.last_completed_at) AS last_completed_at, r.duration_ms,
                r.results_expired, r.pinned
            FROM (SELECT run.*) r
        ) run_object) AS run,
        $1::text || '/v1/results/' || result_id(fact.run_key, fact.case_key) || '/artifacts' AS artifacts_url
    FROM results fact
    JOIN runs run ON run.org_id = fact.org_id AND run.run_key = fact.run_key
    JOIN cases test_case ON test_case.org_id = fact.org_id AND test_case.case_key = fact.case_key
    LEFT JOIN LATERAL (
        SELECT d.type, d.message, d.details, d.summary, d.logs_ref, d.line, d.properties FROM result_details d
        WHERE d.org_id = fact.org_id AND d.run_key = fact.run_key AND d.case_key = fact.case_key AND d.is_last_attempt
        LIMIT 1
    ) detail ON true
    CROSS JOIN LATERAL (
        SELECT json_agg(one ORDER BY one.attempt) AS attempts FROM (
            SELECT
                detail.attempt, status_name(detail.status) AS status,
                known_duration(detail.duration_ms) AS duration_ms,
                rfc3339(known_start(run.completed_at, detail.started_offset_ms)) AS started_at,
                CASE WHEN coalesce(detail.type, detail.message, detail.details) IS NOT NULL
                     THEN json_build_object('type', detail.type, 'message', detail.message, 'details', detail.details) END AS failure, detail.logs_ref
            FROM result_details detail
            WHERE detail.org_id = $2 AND detail.run_key = $3 AND detail.case_key = $4
        ) one
    ) earlier
    WHERE fact.org_id = $2 AND fact.run_key = $3 AND fact.case_key = $4
      AND ($5::text IS NULL OR run.project_id = $5)
) item;
