-- What a run lacks compared with its baseline. A removed case was executed in the baseline and has no result in the run.

-- name: find_removed_cases  (of the run $2 and the baseline $3: one row per set of parts that executed the same cases)
-- Example: 40 cases of the jobs 10001 and 10002 are one row with both numbers, the count 40, and the first $4 cases.
SELECT numbers, count(*) AS cases, (array_agg(case_key ORDER BY case_key))[:$4::int] AS first_cases
FROM (
    SELECT case_key, array_agg(DISTINCT there.number ORDER BY there.number) AS numbers
    FROM (
        SELECT case_key, shard AS number FROM results
        WHERE org_id = $1 AND run_key = $3 AND status IN ('p', 'f', 'e')
        UNION ALL
        SELECT case_key, shard FROM shard_results
        WHERE org_id = $1 AND run_key = $3 AND result ->> 'status' IN ('p', 'f', 'e')
    ) there
    WHERE NOT EXISTS (SELECT FROM results r WHERE r.org_id = $1 AND r.run_key = $2 AND r.case_key = there.case_key)
    GROUP BY case_key
) removed
GROUP BY numbers
