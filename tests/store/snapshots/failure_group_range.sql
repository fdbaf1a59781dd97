-- $1 fingerprint
-- $2 org_id
-- $3 newest_from
-- $4 before_run
-- $5 project_id

SELECT oldest.run_key AS first_key, newest.run_key AS before_run, newest.project_id
FROM (SELECT $1::bigint AS fingerprint) failures
CROSS JOIN LATERAL (
    SELECT run.run_key, run.project_id FROM (
        SELECT d.run_key
        FROM (
            SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                SELECT g.minute FROM failure_group_minutes g
                WHERE g.org_id = $2 AND g.fingerprint = failures.fingerprint AND g.minute >= completion_minute($3)
                ORDER BY g.minute DESC OFFSET 0
            ) minute OFFSET 0
        ) minute CROSS JOIN LATERAL (
            SELECT d.run_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.run_key FROM result_details d
                WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                  AND d.run_key >= $3 AND -- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
                  -- store 14,000 of them in each public project.
                  (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
                ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
            ) d
            ORDER BY d.run_key DESC LIMIT 1
        ) d
        LIMIT 1
    ) d CROSS JOIN LATERAL (
        SELECT r.run_key, r.project_id FROM runs r WHERE r.org_id = $2 AND r.run_key = d.run_key LIMIT 1
    ) run
) newest
CROSS JOIN LATERAL (
    SELECT run.run_key FROM (
        SELECT d.run_key
        FROM (
            SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                SELECT g.minute FROM failure_group_minutes g
                WHERE g.org_id = $2 AND g.fingerprint = failures.fingerprint
                ORDER BY g.minute OFFSET 0
            ) minute OFFSET 0
        ) minute CROSS JOIN LATERAL (
            SELECT d.run_key FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.run_key FROM result_details d
                WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
                  AND d.run_key <= $4 AND -- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
                  -- store 14,000 of them in each public project.
                  (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
                ORDER BY d.run_key, d.case_key LIMIT 1
            ) d
            ORDER BY d.run_key LIMIT 1
        ) d
        LIMIT 1
    ) d CROSS JOIN LATERAL (
        SELECT r.run_key FROM runs r WHERE r.org_id = $2 AND r.run_key = d.run_key LIMIT 1
    ) run
) oldest
WHERE $5::text IS NULL OR newest.project_id = $5;
