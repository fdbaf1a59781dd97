-- $1 org_id
-- $2 run_key

SELECT coalesce(array_agg(case_key ORDER BY case_key), '{}')
FROM (
    SELECT candidate.case_key
    FROM unnest('{f,e}'::"char"[]) AS failing (status)
    CROSS JOIN LATERAL (
        SELECT d.case_key FROM result_details d
        WHERE d.org_id = $1 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key = $2
        ORDER BY d.case_key LIMIT 50000
    ) candidate
    ORDER BY candidate.case_key LIMIT 50000
) first_failing;
