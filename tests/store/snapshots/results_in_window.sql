-- $1 run_keys
-- $2 org_id
-- $3 first_key
-- $4 before_run
-- $5 case_keys

SELECT past.run_key, array_agg(result.case_key) AS case_keys, string_agg(result.status::text, '') AS statuses,
       array_agg(result.flaky) AS flaky
FROM unnest($1::uuid[]) AS past (run_key)
CROSS JOIN LATERAL (
    SELECT r.case_key, r.status, r.flaky FROM results r
    WHERE r.org_id = $2 AND r.run_key = past.run_key AND r.run_key BETWEEN $3 AND $4
      AND r.case_key = ANY ($5::bigint[])
    LIMIT 50000
) result
GROUP BY past.run_key;
