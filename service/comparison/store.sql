-- What a run lacks compared with its baseline. A removed case was executed in the baseline and has no result in the run.

-- name: find_compared_parts  (those of the run $2 or the baseline $3, which is one of the runs $4 of the window)
-- A part of the run without results counts if an event states its status, which `allow_empty` does.
WITH stated AS MATERIALIZED (
    SELECT $2::uuid AS run_key, version.key::int AS number
    FROM runs CROSS JOIN LATERAL jsonb_each(shard_versions) version
    WHERE org_id = $1 AND run_key = $2 AND version.value ->> 2 IS NOT NULL
)
SELECT name, variant, shard,
       bool_or(run_key = $2 AND (has_results OR stated.number IS NOT NULL)) AS is_accepted,
       count(DISTINCT run_key) FILTER (WHERE has_results AND run_key = ANY ($4::uuid[])) AS runs,
       coalesce(array_agg(number) FILTER (WHERE has_results AND run_key = $3), '{}') AS numbers
FROM run_parts LEFT JOIN stated USING (run_key, number)
WHERE org_id = $1 AND run_key = ANY (array_append($4::uuid[], $2::uuid))
GROUP BY name, variant, shard
HAVING bool_or(run_key IN ($2, $3))

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
