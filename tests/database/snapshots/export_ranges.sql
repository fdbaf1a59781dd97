-- $1 range_results
-- $2 flaky
-- $3 statuses
-- $4 org_id
-- $5 first_run
-- $6 last_run
-- $7 trusted
-- $8 project_id
-- $9 environment
-- $10 branch
-- $11 commit_sha
-- $12 pull_request
-- $13 pipeline
-- $14 author
-- $15 labels
-- $16 run_id
-- $17 fingerprint

SELECT run_key, results, expected  -- total of all ranges; exact unless the filter selects cases
FROM (
    SELECT run_key, results, nth, lag(nth) OVER newest AS nth_before, sum(results) OVER ()::bigint AS expected
    FROM (
        SELECT run_key, results, (sum(results + 1) OVER (ORDER BY run_key DESC) - results) / $1::int AS nth
        FROM (SELECT r.run_key, CASE WHEN $2::bool IS NULL THEN (CASE WHEN 'p' = ANY ($3::text[]) THEN r.passed ELSE 0 END
         + CASE WHEN 'f' = ANY ($3::text[]) THEN r.failed ELSE 0 END
         + CASE WHEN 'e' = ANY ($3::text[]) THEN r.error ELSE 0 END
         + CASE WHEN 's' = ANY ($3::text[]) THEN r.skipped ELSE 0 END
         + CASE WHEN 'c' = ANY ($3::text[]) THEN r.canceled ELSE 0 END)
             WHEN $2::bool THEN CASE WHEN 'p' = ANY ($3::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($3::text[]) THEN r.passed ELSE 0 END
              + CASE WHEN 'f' = ANY ($3::text[]) THEN r.failed ELSE 0 END
              + CASE WHEN 'e' = ANY ($3::text[]) THEN r.error ELSE 0 END
              + CASE WHEN 's' = ANY ($3::text[]) THEN r.skipped ELSE 0 END
              + CASE WHEN 'c' = ANY ($3::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($3::text[]) THEN r.flaky ELSE 0 END END AS results FROM runs r WHERE r.org_id = $4::int AND r.run_key BETWEEN $5::uuid AND $6::uuid AND (($7::bool IS NULL OR (r.trusted IS NOT FALSE) = $7::bool)
        AND ($8::text IS NULL OR r.project_id = $8) AND ($9::text IS NULL OR r.environment = $9)
        AND ($10::text IS NULL OR r.branch = $10)
        AND ($11::text IS NULL OR starts_with(r.commit_sha, $11))
        AND ($12::text IS NULL OR r.pull_request = $12)
        AND ($13::text IS NULL OR r.pipeline = $13) AND ($14::text IS NULL OR r.author = $14)
        AND ($15::text[] IS NULL OR r.labels @> ALL ((SELECT $15::text[]::jsonb[])::jsonb[]))
         AND CASE WHEN $2::bool IS NULL THEN (CASE WHEN 'p' = ANY ($3::text[]) THEN r.passed ELSE 0 END
          + CASE WHEN 'f' = ANY ($3::text[]) THEN r.failed ELSE 0 END
          + CASE WHEN 'e' = ANY ($3::text[]) THEN r.error ELSE 0 END
          + CASE WHEN 's' = ANY ($3::text[]) THEN r.skipped ELSE 0 END
          + CASE WHEN 'c' = ANY ($3::text[]) THEN r.canceled ELSE 0 END)
              WHEN $2::bool THEN CASE WHEN 'p' = ANY ($3::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($3::text[]) THEN r.passed ELSE 0 END
               + CASE WHEN 'f' = ANY ($3::text[]) THEN r.failed ELSE 0 END
               + CASE WHEN 'e' = ANY ($3::text[]) THEN r.error ELSE 0 END
               + CASE WHEN 's' = ANY ($3::text[]) THEN r.skipped ELSE 0 END
               + CASE WHEN 'c' = ANY ($3::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($3::text[]) THEN r.flaky ELSE 0 END END > 0)
        AND ($16::text IS NULL OR r.run_id = $16::text)
        AND ($17::bigint IS NULL OR r.run_key = ANY (ARRAY(
            SELECT d.run_key
            FROM (
                SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                    SELECT DISTINCT g.minute FROM failure_group_minutes g
                    WHERE g.org_id = $4::int AND g.fingerprint = $17::bigint
                      AND g.minute BETWEEN completion_minute($5::uuid) AND completion_minute($6::uuid)
                ) minute
                OFFSET 0
            ) minute CROSS JOIN unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.run_key FROM result_details d
                WHERE d.org_id = $4::int AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $17::bigint
                  AND d.run_key BETWEEN $5::uuid AND $6::uuid
                OFFSET 0
            ) d)))) counted
    ) numbered
    WINDOW newest AS (ORDER BY run_key DESC)
) numbered
WHERE nth IS DISTINCT FROM nth_before OR results > $1::int
ORDER BY run_key DESC;
