-- $1 org_id
-- $2 run_id
-- $3 project_id
-- $4 branch
-- $5 first_key
-- $6 before_run
-- $7 run_budget
-- $8 row_budget
-- $9 owner
-- $10 page
-- $11 newest_from

WITH failing_run AS (
    SELECT run_key, '{f,e}'::"char"[] AS statuses FROM runs r
    WHERE org_id = $1 AND run_id = $2 AND (r.trusted IS NOT FALSE) AND ($3::text IS NULL OR project_id = $3)
      AND ($4::text IS NULL OR branch = $4) AND run_key BETWEEN $5 AND $6
), -- One run or failure more than a budget is read, which shows that the budget ended. Each row also has `truncated`. Without
-- groups, it is in a row without a fingerprint.
candidate_run AS MATERIALIZED (
    SELECT run.*, row_number() OVER (ORDER BY run.run_key DESC)::int AS run_no FROM failing_run run
), failure AS MATERIALIZED (
    SELECT *, row_number() OVER ()::int AS failure_no FROM (
        SELECT run.run_key, run.run_no, failure.case_key, failure.fingerprint
        FROM (SELECT * FROM candidate_run WHERE run_no <= $7::int AND statuses IS NOT NULL ORDER BY run_no OFFSET 0) run
        CROSS JOIN LATERAL (
            SELECT d.case_key, d.fingerprint
            FROM unnest(run.statuses) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.case_key, d.fingerprint FROM result_details d
                WHERE d.org_id = $1 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key = run.run_key AND d.run_key BETWEEN $5 AND $6
                LIMIT 20000 + 1  -- in the order of the index
            ) d
        ) failure
        LIMIT $8::int + 1
    ) failure
), failure_group AS MATERIALIZED (
    SELECT fingerprint, count(*)::int AS results, count(DISTINCT case_key)::int AS cases, count(DISTINCT run_no)::int AS runs,
           min(failure_no) AS newest, array_agg(DISTINCT case_key) AS case_keys
    FROM failure WHERE failure_no <= $8::int AND fingerprint IS NOT NULL
    GROUP BY fingerprint
    HAVING $9::text IS NULL OR bool_or($9::text IS NOT NULL AND (SELECT true FROM case_owners o WHERE o.org_id = $1 AND o.case_key = failure.case_key AND o.owner = $9 LIMIT 1) IS TRUE)
    ORDER BY results DESC, runs DESC, newest LIMIT $10::int
)
SELECT listed.*, search.truncated
FROM (
    SELECT (SELECT count(*) > $7::int FROM candidate_run)
           OR (SELECT count(*) > $8::int FROM failure) AS truncated
) search
LEFT JOIN LATERAL (
    SELECT item.*, failures.newest
    FROM failure_group failures JOIN failure example ON example.failure_no = failures.newest
    CROSS JOIN LATERAL (
        SELECT d.run_key
        FROM (
            SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                SELECT g.minute FROM failure_group_minutes g
                WHERE g.org_id = $1 AND g.fingerprint = failures.fingerprint
                ORDER BY g.minute OFFSET 0
            ) minute OFFSET 0
        ) minute CROSS JOIN LATERAL (
            SELECT d.run_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.run_key FROM result_details d
                WHERE d.org_id = $1 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                  AND d.run_key <= $6 AND -- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
                  -- store 14,000 of them in each public project.
                  (SELECT true FROM runs untrusted WHERE untrusted.org_id = $1 AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
                ORDER BY d.run_key, d.case_key LIMIT 1
            ) d
            ORDER BY d.run_key LIMIT 1
        ) d
        LIMIT 1
    ) first_failure
    CROSS JOIN LATERAL (  -- OFFSET, because row-level security prevents COALESCE from being an index condition
        SELECT coalesce((
            SELECT d.run_key
            FROM (
                SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                    SELECT g.minute FROM failure_group_minutes g
                    WHERE g.org_id = $1 AND g.fingerprint = failures.fingerprint AND g.minute >= completion_minute($11)
                    ORDER BY g.minute DESC OFFSET 0
                ) minute OFFSET 0
            ) minute CROSS JOIN LATERAL (
                SELECT d.run_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                    SELECT d.run_key FROM result_details d
                    WHERE d.org_id = $1 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                      AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                      AND d.run_key >= $11 AND -- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
                      -- store 14,000 of them in each public project.
                      (SELECT true FROM runs untrusted WHERE untrusted.org_id = $1 AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
                    ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
                ) d
                ORDER BY d.run_key DESC LIMIT 1
            ) d
            LIMIT 1
        ), example.run_key) AS run_key
        OFFSET 0
    ) last_failure
    CROSS JOIN LATERAL (
        -- `failures` is the group with the keys of its cases, `example` its newest listed failure, `first_failure` and `last_failure` the first and last
        -- stored one.
        SELECT failures.fingerprint, run.project_id, detail.type, detail.summary AS message, failures.results, failures.cases,
               failures.runs, oldest.completed_ms AS first_seen_ms, newest.completed_ms AS last_seen_ms,
               example.run_key AS example_run, example.case_key AS example_case, ticket.ticket_url,
               ARRAY (
                   SELECT DISTINCT o.owner FROM unnest(failures.case_keys) AS failed (case_key) CROSS JOIN LATERAL (
                       SELECT o.owner FROM case_owners o WHERE o.org_id = $1 AND o.case_key = failed.case_key LIMIT 10
                   ) o
                   ORDER BY o.owner LIMIT 10
               ) AS owners
        FROM (
            SELECT r.project_id FROM runs r WHERE r.org_id = $1 AND r.run_key = example.run_key LIMIT 1
        ) run
        CROSS JOIN LATERAL (
            SELECT d.type, d.summary FROM result_details d
            WHERE d.org_id = $1 AND d.run_key = example.run_key AND d.case_key = example.case_key AND d.is_last_attempt
              AND d.run_key BETWEEN $5 AND $6 LIMIT 1
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
    ) item
) listed ON true
ORDER BY listed.results DESC, listed.runs DESC, listed.newest;
