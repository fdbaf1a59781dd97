-- $1 org_id
-- $2 project_id

SELECT p.project_id, p.default_branch, rfc3339(newest.completed_at) AS last_run_at, p.code_url_pattern,
       p.untrusted_uploads, p.auto_quarantine,
       CASE WHEN p.auto_quarantine IS NOT NULL THEN p.auto_quarantine_status END AS auto_quarantine_status,
       rfc3339(p.created_at) AS created_at,
       rfc3339(p.deletion_requested_at) AS deletion_requested_at
FROM projects p
LEFT JOIN LATERAL (
    SELECT completed_at FROM runs r WHERE r.org_id = $1 AND r.project_id = p.project_id AND (r.trusted IS NOT FALSE)
    ORDER BY r.run_key DESC LIMIT 1
) newest ON true
WHERE p.org_id = $1 AND p.project_id = $2;
