-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches)
INSERT INTO projects (org_id, project_id, deleted_projects)
SELECT org_id, project_id, deleted_projects
FROM unnest($1::int[], $2::text[], $3::int[]) AS new (org_id, project_id, deleted_projects) ORDER BY org_id, project_id
ON CONFLICT (org_id, project_id) DO NOTHING

-- name: count_deleted  (projects of each organization)
SELECT org_id, deleted_projects FROM organizations WHERE org_id = ANY ($1::int[])

-- name: set_default_branch
UPDATE projects SET default_branch = $3 WHERE org_id = $1 AND project_id = $2 RETURNING 1

-- name: lock  (conflicts with the locks of transactions that store runs of the project)
SELECT project_id FROM projects WHERE org_id = $1 AND project_id = $2 FOR UPDATE

-- name: request_deletion  (a repeated request keeps the time of the first one)
UPDATE projects SET deletion_requested_at = coalesce(deletion_requested_at, now()) WHERE org_id = $1 AND project_id = $2
