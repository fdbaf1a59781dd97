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
        FROM (SELECT r.run_key, result_count(r, $2::text[]) AS results FROM runs r WHERE r.org_id = $3::int AND r.run_key BETWEEN $4::uuid AND $5::uuid AND (($6::text IS NULL OR r.project_id = $6) AND ($7::text IS NULL OR r.environment = $7)
        AND ($8::text IS NULL OR r.branch = $8)
         AND result_count(r, $2::text[]) > 0)
        AND ($9::text IS NULL OR r.run_id = $9::text)) counted
    ) numbered
    WINDOW newest AS (ORDER BY run_key DESC)
) numbered
WHERE nth IS DISTINCT FROM nth_before OR results > $1::int
ORDER BY run_key DESC;
