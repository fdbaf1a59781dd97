-- $1 org_ids
-- $2 case_keys

SELECT c.org_id, c.case_key, c.project_id, c.case_id, c.suite, c.name, c.occurrence, c.file, c.variant
FROM unnest($1::int[], $2::bigint[]) AS requested (org_id, case_key)
JOIN cases c ON c.org_id = requested.org_id AND c.case_key = requested.case_key;
