-- $1 fingerprint
-- $2 org_id
-- $3 project_id

-- The example is the first failure of the newest run in the order of the ranked groups, so that both show the same one.
WITH example AS MATERIALIZED (
    SELECT newest.run_key, first.case_key FROM (SELECT $1::bigint AS fingerprint) failures CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key
        FROM (
            SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM failure_group_minutes g
            WHERE g.org_id = $2 AND g.fingerprint = failures.fingerprint ORDER BY g.minute DESC OFFSET 0
        ) minute CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.run_key, d.case_key FROM result_details d
                WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
            ) d
            ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
        ) d
        LIMIT 1
    ) newest CROSS JOIN LATERAL (
        SELECT d.case_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
            SELECT d.case_key FROM result_details d
            WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
              AND d.run_key = newest.run_key AND d.fingerprint = failures.fingerprint
            ORDER BY d.case_key LIMIT 1
        ) d
        ORDER BY failing.status DESC LIMIT 1
    ) first
), group_minute AS MATERIALIZED (
    SELECT DISTINCT g.minute FROM failure_group_minutes g
    WHERE g.org_id = $2 AND g.fingerprint = $1
      AND g.minute <= (SELECT completion_minute(example.run_key) FROM example)
    ORDER BY g.minute DESC LIMIT 1000 + 1
), failure AS MATERIALIZED (
    SELECT d.run_key, d.case_key
    FROM (
        SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (SELECT minute FROM group_minute ORDER BY minute DESC LIMIT 1000) minute OFFSET 0
    ) minute CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key FROM result_details d
        WHERE d.org_id = $2 AND d.status = ANY ('{f,e}'::"char"[]) AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $1
        LIMIT 5000 + 1
    ) d
    LIMIT 5000 + 1
)
SELECT row_to_json(object)::text
FROM example CROSS JOIN LATERAL (
    SELECT $1::bigint AS fingerprint, least(count(*), 5000)::int AS results,
           count(DISTINCT case_key)::int AS cases, count(DISTINCT run_key)::int AS runs,
           count(*) > 5000 OR (SELECT count(*) > 1000 FROM group_minute) AS truncated
    FROM failure
) failures
CROSS JOIN LATERAL (
    SELECT 'fp1_' || lpad(to_hex(failures.fingerprint), 16, '0') AS id, run.project_id, detail.type,
           detail.summary AS message, failures.results, failures.cases, failures.runs,
           rfc3339(oldest.completed_at) AS first_seen, rfc3339(newest.completed_at) AS last_seen,
           result_id(example.run_key, example.case_key) AS example_result_id, ticket.ticket_url
    FROM (
        SELECT r.project_id FROM runs r WHERE r.org_id = $2 AND r.run_key = example.run_key LIMIT 1
    ) run
    CROSS JOIN LATERAL (
        SELECT d.type, d.summary FROM result_details d
        WHERE d.org_id = $2 AND d.run_key = example.run_key AND d.case_key = example.case_key AND d.is_last_attempt
        LIMIT 1
    ) detail
    CROSS JOIN LATERAL (
        SELECT r.completed_at
        FROM (
            SELECT d.run_key
            FROM (
                SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM failure_group_minutes g
                WHERE g.org_id = $2 AND g.fingerprint = failures.fingerprint ORDER BY g.minute OFFSET 0
            ) minute CROSS JOIN LATERAL (
                SELECT d.run_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                    SELECT d.run_key FROM result_details d
                    WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                      AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                    ORDER BY d.run_key, d.case_key LIMIT 1
                ) d
                ORDER BY d.run_key LIMIT 1
            ) d
            LIMIT 1
        ) d CROSS JOIN LATERAL (
            SELECT r.completed_at FROM runs r WHERE r.org_id = $2 AND r.run_key = d.run_key LIMIT 1
        ) r
    ) oldest
    CROSS JOIN LATERAL (
        SELECT r.completed_at
        FROM (
            SELECT d.run_key, d.case_key
            FROM (
                SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM failure_group_minutes g
                WHERE g.org_id = $2 AND g.fingerprint = failures.fingerprint ORDER BY g.minute DESC OFFSET 0
            ) minute CROSS JOIN LATERAL (
                SELECT d.run_key, d.case_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                    SELECT d.run_key, d.case_key FROM result_details d
                    WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                      AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                    ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
                ) d
                ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
            ) d
            LIMIT 1
        ) d CROSS JOIN LATERAL (
            SELECT r.completed_at FROM runs r WHERE r.org_id = $2 AND r.run_key = d.run_key LIMIT 1
        ) r
    ) newest
    LEFT JOIN LATERAL (
        SELECT t.ticket_url FROM failure_tickets t
        WHERE t.org_id = $2 AND t.fingerprint = failures.fingerprint LIMIT 1
    ) ticket ON true
) item
CROSS JOIN LATERAL (SELECT item.*, failures.truncated) object
WHERE $3::text IS NULL OR item.project_id = $3;
