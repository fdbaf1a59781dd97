-- Projects: one, and a page of the list, in the order of their IDs.

-- name: project_columns  (the members of the public object)
SELECT p.project_id, p.default_branch, rfc3339(newest.completed_at) AS last_run_at, p.code_url_pattern,
       rfc3339(p.created_at) AS created_at
FROM projects p
LEFT JOIN LATERAL (
    SELECT completed_at FROM runs r WHERE r.org_id = :org_id AND r.project_id = p.project_id
    ORDER BY r.run_key DESC LIMIT 1
) newest ON true

-- name: one_project
{project_columns}
WHERE p.org_id = :org_id AND p.project_id = :project_id

-- name: page_of_projects  (with one more, which shows that the list continues)
{project_columns}
WHERE p.org_id = :org_id AND p.project_id > :after::text AND (:only::text IS NULL OR p.project_id = :only)
ORDER BY p.project_id LIMIT :page::int + 1
