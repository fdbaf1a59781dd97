-- $1 org_id
-- $2 before_run
-- $3 fingerprint
-- $4 first_key

-- The example is the first failure of this run in the order of the ranked groups, so that both show the same one.
WITH example AS MATERIALIZED (
    SELECT d.run_key, d.case_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key FROM result_details d
        WHERE d.org_id = $1 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key = $2 AND d.fingerprint = $3
        ORDER BY d.case_key LIMIT 1
    ) d
    ORDER BY failing.status DESC LIMIT 1
), group_minute AS MATERIALIZED (
    SELECT DISTINCT g.minute FROM failure_group_minutes g
    WHERE g.org_id = $1 AND g.fingerprint = $3
      AND g.minute BETWEEN completion_minute($4) AND completion_minute($2)
    ORDER BY g.minute DESC LIMIT 1000 + 1
), failure AS MATERIALIZED (
    SELECT d.run_key, d.case_key
    FROM (
        SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (SELECT minute FROM group_minute ORDER BY minute DESC LIMIT 1000) minute OFFSET 0
    ) minute CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key FROM result_details d
        WHERE d.org_id = $1 AND d.status = ANY ('{f,e}'::"char"[]) AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $3
          AND d.run_key BETWEEN $4 AND $2 AND -- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
          -- store 14,000 of them in each public project.
          (SELECT true FROM runs untrusted WHERE untrusted.org_id = $1 AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
        LIMIT 5000 + 1
    ) d
    LIMIT 5000 + 1
)
SELECT item.*, failures.truncated
FROM example CROSS JOIN LATERAL (
    SELECT $3::bigint AS fingerprint, least(count(*), 5000)::int AS results,
           count(DISTINCT case_key)::int AS cases, count(DISTINCT run_key)::int AS runs,
           count(*) > 5000 OR (SELECT count(*) > 1000 FROM group_minute) AS truncated
    FROM failure
) failures
CROSS JOIN (SELECT $4::uuid AS run_key) first_failure
CROSS JOIN (SELECT $2::uuid AS run_key) last_failure
CROSS JOIN LATERAL (
    -- `failures` is the group, `example` its newest listed failure, `first_failure` and `last_failure` the first and last stored one.
    SELECT failures.fingerprint, run.project_id, detail.type, detail.summary AS message, failures.results, failures.cases,
           failures.runs, oldest.completed_ms AS first_seen_ms, newest.completed_ms AS last_seen_ms,
           example.run_key AS example_run, example.case_key AS example_case, ticket.ticket_url
    FROM (
        SELECT r.project_id FROM runs r WHERE r.org_id = $1 AND r.run_key = example.run_key LIMIT 1
    ) run
    CROSS JOIN LATERAL (
        SELECT d.type, d.summary FROM result_details d
        WHERE d.org_id = $1 AND d.run_key = example.run_key AND d.case_key = example.case_key AND d.is_last_attempt
          AND d.run_key BETWEEN $4 AND $2 LIMIT 1
    ) detail
    CROSS JOIN LATERAL (
        SELECT (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms FROM runs r WHERE r.org_id = $1 AND r.run_key = first_failure.run_key LIMIT 1
    ) oldest
    CROSS JOIN LATERAL (
        SELECT (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms FROM runs r WHERE r.org_id = $1 AND r.run_key = last_failure.run_key LIMIT 1
    ) newest
    LEFT JOIN LATERAL (
        SELECT t.ticket_url FROM failure_tickets t
        WHERE t.org_id = $1 AND t.fingerprint = failures.fingerprint LIMIT 1
    ) ticket ON true
) item;
