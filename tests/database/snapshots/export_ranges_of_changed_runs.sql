-- $1 range_results
-- $2 org_id
-- $3 changed_keys
-- $4 first_run
-- $5 last_run
-- $6 trusted
-- $7 project_id
-- $8 environment
-- $9 branch
-- $10 commit_sha
-- $11 pull_request
-- $12 pipeline
-- $13 author
-- $14 labels
-- $15 run_id
-- $16 fingerprint

SELECT run_key, results, expected  -- total of all ranges; exact unless the filter selects cases
FROM (
    SELECT run_key, results, nth, lag(nth) OVER newest AS nth_before, sum(results) OVER ()::bigint AS expected
    FROM (
        SELECT run_key, results, (sum(results + 1) OVER (ORDER BY run_key DESC) - results) / $1::int AS nth
        FROM (SELECT r.run_key, 1 AS results FROM (SELECT * FROM runs WHERE runs.org_id = $2::int AND runs.run_key = ANY ($3::uuid[])) r WHERE r.org_id = $2::int AND r.run_key BETWEEN $4::uuid AND $5::uuid AND ($6::bool IS NULL OR (r.trusted IS NOT FALSE) = $6::bool)
        AND ($7::text IS NULL OR r.project_id = $7) AND ($8::text IS NULL OR r.environment = $8)
        AND ($9::text IS NULL OR r.branch = $9)
        AND ($10::text IS NULL OR starts_with(r.commit_sha, $10))
        AND ($11::text IS NULL OR r.pull_request = $11)
        AND ($12::text IS NULL OR r.pipeline = $12) AND ($13::text IS NULL OR r.author = $13)
        AND ($14::text[] IS NULL OR r.labels @> ALL ((SELECT $14::text[]::jsonb[])::jsonb[]))
        AND ($15::text IS NULL OR r.run_id = $15::text)
        AND ($16::bigint IS NULL OR r.run_key = ANY (ARRAY(
            SELECT d.run_key
            FROM (
                SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                    SELECT DISTINCT g.minute FROM failure_group_minutes g
                    WHERE g.org_id = $2::int AND g.fingerprint = $16::bigint
                      AND g.minute BETWEEN completion_minute($4::uuid) AND completion_minute($5::uuid)
                ) minute
                OFFSET 0
            ) minute CROSS JOIN unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.run_key FROM result_details d
                WHERE d.org_id = $2::int AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $16::bigint
                  AND d.run_key BETWEEN $4::uuid AND $5::uuid
                OFFSET 0
            ) d)))) counted
    ) numbered
    WINDOW newest AS (ORDER BY run_key DESC)
) numbered
WHERE nth IS DISTINCT FROM nth_before OR results > $1::int
ORDER BY run_key DESC;
