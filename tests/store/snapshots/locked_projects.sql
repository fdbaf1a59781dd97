-- $1 org_ids
-- $2 project_ids

SELECT p.org_id, p.project_id, p.deletion_requested_at IS NOT NULL AS is_deleted, p.deleted_projects
FROM unnest($1::int[], $2::text[]) AS requested (org_id, project_id)
JOIN projects p ON p.org_id = requested.org_id AND p.project_id = requested.project_id
ORDER BY p.org_id, p.project_id
FOR KEY SHARE OF p;
