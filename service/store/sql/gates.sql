-- name: insert
INSERT INTO gates (org_id, name, policy) VALUES ($1, $2, $3) ON CONFLICT (org_id, name) DO NOTHING RETURNING true

-- name: lock  (returns whether the gate is deleted)
SELECT deleted_at IS NOT NULL FROM gates WHERE org_id = $1 AND name = $2 FOR UPDATE

-- name: replace  (the version of a deleted gate continues)
UPDATE gates
SET version = version + (policy <> $3)::int,
    updated_at = CASE WHEN policy <> $3 OR deleted_at IS NOT NULL THEN now() ELSE updated_at END,
    policy = $3, deleted_at = NULL
WHERE org_id = $1 AND name = $2

-- name: delete
UPDATE gates SET deleted_at = now() WHERE org_id = $1 AND name = $2 AND deleted_at IS NULL RETURNING 1

-- name: find
SELECT version, policy FROM gates WHERE org_id = $1 AND name = $2 AND deleted_at IS NULL
