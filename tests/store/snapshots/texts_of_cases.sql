-- $1 case_keys
-- $2 org_id

SELECT key.case_key, c.suite, c.name, c.variant
FROM unnest($1::bigint[]) AS key (case_key)
CROSS JOIN LATERAL (
    SELECT suite, name, variant FROM cases WHERE org_id = $2 AND case_key = key.case_key LIMIT 1
) c;
