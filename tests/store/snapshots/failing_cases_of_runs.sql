-- $1 org_ids
-- $2 run_keys
-- $3 limit

SELECT requested.run_key, failure.case_key, status_name(failure.status) AS status, failure.summary, c.case_id, c.variant,
       c.suite, c.name, coalesce(failure.file, c.file) AS file
FROM unnest($1::int[], $2::uuid[]) AS requested (org_id, run_key)
CROSS JOIN LATERAL (
    SELECT d.case_key, d.status, d.summary, d.file
    FROM result_details d
    WHERE d.org_id = requested.org_id AND d.run_key = requested.run_key AND d.is_last_attempt AND d.status <> 'p'
          AND d.status IN ('f', 'e')
    ORDER BY d.status, d.case_key
    LIMIT $3
) failure
CROSS JOIN LATERAL (
    SELECT case_id, variant, suite, name, file FROM cases
    WHERE org_id = requested.org_id AND case_key = failure.case_key LIMIT 1
) c;
