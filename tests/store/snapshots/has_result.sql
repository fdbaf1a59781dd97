-- $1 org_id
-- $2 run_key
-- $3 case_key
-- $4 project_id

SELECT 1 FROM results r JOIN runs run ON run.org_id = $1 AND run.run_key = r.run_key
WHERE r.org_id = $1 AND r.run_key = $2 AND r.case_key = $3 AND NOT run.results_expired
  AND ($4::text IS NULL OR run.project_id = $4);
