-- $1 org_id
-- $2 run_id
-- $3 project_id

SELECT r.revision, r.passed + r.failed + r.error + r.skipped + r.canceled AS results FROM runs r
WHERE r.org_id = $1 AND r.run_id = $2 AND ($3::text IS NULL OR r.project_id = $3);
