-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches)
INSERT INTO projects (org_id, project_id)
SELECT org_id, project_id FROM unnest($1::int[], $2::text[]) AS new (org_id, project_id) ORDER BY org_id, project_id
ON CONFLICT (org_id, project_id) DO NOTHING

-- name: set_default_branch
UPDATE projects SET default_branch = $3 WHERE org_id = $1 AND project_id = $2 RETURNING 1
