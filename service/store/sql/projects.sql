-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches)
INSERT INTO projects (org_id, project_id)
SELECT org_id, project_id FROM unnest($1::int[], $2::text[]) AS new (org_id, project_id) ORDER BY org_id, project_id
ON CONFLICT (org_id, project_id) DO NOTHING

-- name: change  (only the named columns)
UPDATE projects
SET default_branch = CASE WHEN 'default_branch' = ANY ($3::text[]) THEN $4::text ELSE default_branch END,
    code_url_pattern = CASE WHEN 'code_url_pattern' = ANY ($3::text[]) THEN $5::text ELSE code_url_pattern END
WHERE org_id = $1 AND project_id = $2 RETURNING 1
