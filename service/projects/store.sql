-- Projects: one, a page of the list in the order of their IDs, and their changes.

-- name: insert_unseen(org_ids, project_ids, deleted_projects)  (sorted by key, to prevent deadlocks between batches)
INSERT INTO projects (org_id, project_id, deleted_projects)
SELECT org_id, project_id, deleted_projects
FROM unnest(:org_ids::int[], :project_ids::text[], :deleted_projects::int[]) AS new (org_id, project_id, deleted_projects)
ORDER BY org_id, project_id
ON CONFLICT (org_id, project_id) DO NOTHING

-- name: count_deleted(org_ids)  (projects of each organization)
SELECT org_id, deleted_projects FROM organizations WHERE org_id = ANY (:org_ids::int[])

-- name: change(org_id, project_id, changed, default_branch, code_url_pattern, untrusted_uploads, auto_quarantine)
--     (only the named columns)
UPDATE projects
SET default_branch = CASE WHEN 'default_branch' = ANY (:changed::text[]) THEN :default_branch::text ELSE default_branch END,
    code_url_pattern = CASE WHEN 'code_url_pattern' = ANY (:changed::text[]) THEN :code_url_pattern::text
                            ELSE code_url_pattern END,
    untrusted_uploads = CASE WHEN 'untrusted_uploads' = ANY (:changed::text[]) THEN :untrusted_uploads::bool
                             ELSE untrusted_uploads END,
    auto_quarantine = CASE WHEN 'auto_quarantine' = ANY (:changed::text[]) THEN :auto_quarantine::jsonb
                           ELSE auto_quarantine END
WHERE org_id = :org_id AND project_id = :project_id RETURNING 1

-- name: allows_untrusted(org_id, project_id)  (no row if the project isn't stored)
SELECT untrusted_uploads FROM projects WHERE org_id = :org_id AND project_id = :project_id

-- name: lock_policy(org_id, project_id)  (no row without a policy, or during the deletion; a change of the policy waits)
SELECT default_branch, auto_quarantine FROM projects
WHERE org_id = :org_id AND project_id = :project_id AND auto_quarantine IS NOT NULL AND deletion_requested_at IS NULL
FOR SHARE

-- name: set_policy_status(org_id, project_id, status)
UPDATE projects SET auto_quarantine_status = :status
WHERE org_id = :org_id AND project_id = :project_id AND auto_quarantine_status IS DISTINCT FROM :status
RETURNING 1

-- name: lock(org_id, project_id)  (conflicts with the locks of transactions that store runs of the project)
SELECT project_id FROM projects WHERE org_id = :org_id AND project_id = :project_id FOR UPDATE

-- name: request_deletion(org_id, project_id)  (a repeated request keeps the time of the first one)
UPDATE projects SET deletion_requested_at = now()
WHERE org_id = :org_id AND project_id = :project_id AND deletion_requested_at IS NULL

-- name: project_columns  (the members of the public object)
SELECT p.project_id, p.default_branch, rfc3339(newest.completed_at) AS last_run_at, p.code_url_pattern,
       p.untrusted_uploads, p.auto_quarantine,
       CASE WHEN p.auto_quarantine IS NOT NULL THEN p.auto_quarantine_status END AS auto_quarantine_status,
       rfc3339(p.created_at) AS created_at,
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

-- name: is_of_project  (a row of the project to which the caller is bound, or of the given one; of any project without one)
(:project_id::text IS NULL OR project_id = :project_id)
