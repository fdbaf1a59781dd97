-- $1 org_id
-- $2 fingerprint
-- $3 project_id

WITH failure AS MATERIALIZED (
    SELECT d.run_key, d.case_key FROM result_details d
    WHERE d.org_id = $1 AND d.fingerprint = $2 AND d.is_last_attempt AND d.status <> 'p'
    ORDER BY d.run_key DESC LIMIT 5000 + 1
)
SELECT row_to_json(object)::text
FROM (SELECT run_key, case_key FROM failure LIMIT 1) example
CROSS JOIN LATERAL (
    SELECT $2::bigint AS fingerprint, least(count(*), 5000)::int AS results,
           count(DISTINCT case_key)::int AS cases, count(DISTINCT run_key)::int AS runs, count(*) > 5000 AS truncated
    FROM failure
) failures
CROSS JOIN LATERAL (
    SELECT 'fp1_' || lpad(to_hex(failures.fingerprint), 16, '0') AS id, run.project_id, detail.type,
           detail.summary AS message, failures.results, failures.cases, failures.runs,
           rfc3339(oldest.completed_at) AS first_seen, rfc3339(newest.completed_at) AS last_seen,
           result_id(example.run_key, example.case_key) AS example_result_id, ticket.ticket_url
    FROM (
        SELECT r.project_id FROM runs r WHERE r.org_id = $1 AND r.run_key = example.run_key LIMIT 1
    ) run
    CROSS JOIN LATERAL (
        SELECT d.type, d.summary FROM result_details d
        WHERE d.org_id = $1 AND d.run_key = example.run_key AND d.case_key = example.case_key AND d.is_last_attempt
        LIMIT 1
    ) detail
    CROSS JOIN LATERAL (
        SELECT r.completed_at
        FROM (
            SELECT d.run_key FROM result_details d
            WHERE d.org_id = $1 AND d.fingerprint = failures.fingerprint AND d.is_last_attempt AND d.status <> 'p'
            ORDER BY d.run_key LIMIT 1
        ) d CROSS JOIN LATERAL (
            SELECT r.completed_at FROM runs r WHERE r.org_id = $1 AND r.run_key = d.run_key LIMIT 1
        ) r
    ) oldest
    CROSS JOIN LATERAL (
        SELECT r.completed_at
        FROM (
            SELECT d.run_key FROM result_details d
            WHERE d.org_id = $1 AND d.fingerprint = failures.fingerprint AND d.is_last_attempt AND d.status <> 'p'
            ORDER BY d.run_key DESC LIMIT 1
        ) d CROSS JOIN LATERAL (
            SELECT r.completed_at FROM runs r WHERE r.org_id = $1 AND r.run_key = d.run_key LIMIT 1
        ) r
    ) newest
    LEFT JOIN LATERAL (
        SELECT t.ticket_url FROM failure_tickets t
        WHERE t.org_id = $1 AND t.fingerprint = failures.fingerprint LIMIT 1
    ) ticket ON true
) item
CROSS JOIN LATERAL (SELECT item.*, failures.truncated) object
WHERE $3::text IS NULL OR item.project_id = $3;
