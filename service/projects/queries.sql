-- Projects: one, and a page of the list, in the order of their IDs.

-- name: project_columns  (the members of the public object)
SELECT p.project_id, p.default_branch, rfc3339(newest.completed_at) AS last_run_at, p.code_url_pattern,
       p.untrusted_uploads, rfc3339(p.created_at) AS created_at,
       rfc3339(p.deletion_requested_at) AS deletion_requested_at
FROM projects p
LEFT JOIN LATERAL (
    SELECT completed_at FROM runs r WHERE r.org_id = :org_id AND r.project_id = p.project_id AND {is_trusted}
    ORDER BY r.run_key DESC LIMIT 1
) newest ON true

-- name: one_project
{project_columns}
WHERE p.org_id = :org_id AND p.project_id = :project_id

-- name: page_of_projects  (with one more, which shows that the list continues)
{project_columns}
WHERE p.org_id = :org_id AND p.project_id > :after::text AND (:only::text IS NULL OR p.project_id = :only)
ORDER BY p.project_id LIMIT :page::int + 1

-- name: locked_projects  (of the requested ones; they aren't deleted before the end of the transaction)
SELECT p.org_id, p.project_id, p.deletion_requested_at IS NOT NULL AS is_deleted, p.deleted_projects
FROM unnest(:org_ids::int[], :project_ids::text[]) AS requested (org_id, project_id)
JOIN projects p ON p.org_id = {requested_organization} AND p.project_id = requested.project_id
ORDER BY p.org_id, p.project_id
FOR KEY SHARE OF p
