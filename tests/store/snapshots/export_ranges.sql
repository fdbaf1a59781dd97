-- $1 range_results
-- $2 statuses
-- $3 org_id
-- $4 first_run
-- $5 last_run
-- $6 project_id
-- $7 environment
-- $8 branch
-- $9 run_id

SELECT run_key, results, expected  -- total of all ranges; exact unless the filter selects cases
FROM (
    SELECT run_key, results, nth, lag(nth) OVER newest AS nth_before, sum(results) OVER ()::bigint AS expected
    FROM (
        SELECT run_key, results, (sum(results + 1) OVER (ORDER BY run_key DESC) - results) / $1::int AS nth
        FROM (SELECT r.run_key, CASE WHEN 'p' = ANY ($2::text[]) THEN r.passed ELSE 0 END
        + CASE WHEN 'f' = ANY ($2::text[]) THEN r.failed ELSE 0 END
        + CASE WHEN 'e' = ANY ($2::text[]) THEN r.error ELSE 0 END
        + CASE WHEN 's' = ANY ($2::text[]) THEN r.skipped ELSE 0 END
        + CASE WHEN 'c' = ANY ($2::text[]) THEN r.canceled ELSE 0 END AS results FROM runs r WHERE r.org_id = $3::int AND r.run_key BETWEEN $4::uuid AND $5::uuid AND (($6::text IS NULL OR r.project_id = $6) AND ($7::text IS NULL OR r.environment = $7)
        AND ($8::text IS NULL OR r.branch = $8)
         AND ('p' = ANY ($2::text[]) AND r.passed > 0 OR 'f' = ANY ($2::text[]) AND r.failed > 0
              OR 'e' = ANY ($2::text[]) AND r.error > 0 OR 's' = ANY ($2::text[]) AND r.skipped > 0
              OR 'c' = ANY ($2::text[]) AND r.canceled > 0))
        AND ($9::text IS NULL OR r.run_id = $9::text)) counted
    ) numbered
    WINDOW newest AS (ORDER BY run_key DESC)
) numbered
WHERE nth IS DISTINCT FROM nth_before OR results > $1::int
ORDER BY run_key DESC;
