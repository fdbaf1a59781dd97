-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches)
INSERT INTO projects (org_id, project_id, deleted_projects)
SELECT org_id, project_id, deleted_projects
FROM unnest($1::int[], $2::text[], $3::int[]) AS new (org_id, project_id, deleted_projects) ORDER BY org_id, project_id
ON CONFLICT (org_id, project_id) DO NOTHING

-- name: count_deleted  (projects of each organization)
SELECT org_id, deleted_projects FROM organizations WHERE org_id = ANY ($1::int[])

-- name: change  (only the named columns)
UPDATE projects
SET default_branch = CASE WHEN 'default_branch' = ANY ($3::text[]) THEN $4::text ELSE default_branch END,
    code_url_pattern = CASE WHEN 'code_url_pattern' = ANY ($3::text[]) THEN $5::text ELSE code_url_pattern END,
    untrusted_uploads = CASE WHEN 'untrusted_uploads' = ANY ($3::text[]) THEN $6::bool ELSE untrusted_uploads END
WHERE org_id = $1 AND project_id = $2 RETURNING 1

-- name: allows_untrusted  (no row if the project isn't stored)
SELECT untrusted_uploads FROM projects WHERE org_id = $1 AND project_id = $2

-- name: lock  (conflicts with the locks of transactions that store runs of the project)
SELECT project_id FROM projects WHERE org_id = $1 AND project_id = $2 FOR UPDATE

-- name: request_deletion  (a repeated request keeps the time of the first one)
UPDATE projects SET deletion_requested_at = now() WHERE org_id = $1 AND project_id = $2 AND deletion_requested_at IS NULL
