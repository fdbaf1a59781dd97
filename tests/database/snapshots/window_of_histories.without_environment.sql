-- $1 org_id
-- $2 project_id
-- $3 branch

SELECT replace(r.run_key::text, '-', '') AS run_key, r.revision, r.commit_sha, r.passed + r.failed + r.error AS executed,
r.failed + r.error AS failed FROM runs r
WHERE r.org_id = $1 AND r.project_id = $2 AND r.branch = $3 AND (r.trusted IS NOT FALSE) AND r.complete AND r.passed + r.failed + r.error > 0 AND r.status <> 'c' AND NOT r.results_expired
      AND r.environment IS NULL
ORDER BY r.run_key DESC LIMIT 1000;
