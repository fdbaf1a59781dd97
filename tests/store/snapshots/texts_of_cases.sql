-- $1 case_keys
-- $2 org_id

-- If no trusted run contains the case, the code of forks has stated its name. With a case_id, this can be the code of another
-- fork than that of the run, so that no glob excuses failures. Without a case_id, the name is the identity of the case.
SELECT key.case_key, c.suite, c.name, c.variant, c.is_of_forks
FROM unnest($1::bigint[]) AS key (case_key)
CROSS JOIN LATERAL (
    SELECT suite, name, variant, (NOT trusted OR promoted IS TRUE) AND case_id IS NOT NULL AS is_of_forks FROM cases WHERE org_id = $2 AND case_key = key.case_key LIMIT 1
) c;
