-- $1 org_id
-- $2 project_id
-- $3 suite
-- $4 name
-- $5 variant
-- $6 run_key

SELECT c.case_key, c.variant FROM cases c
WHERE c.org_id = $1 AND c.project_id = $2 AND c.suite_hash = hashtextextended($3::text, 0)
  AND c.suite = $3 AND c.name = $4 AND c.variant @> $5::jsonb
  AND EXISTS (
      SELECT 1 FROM results r WHERE r.org_id = $1 AND r.run_key = $6 AND r.case_key = c.case_key)
ORDER BY c.case_key LIMIT 100;
