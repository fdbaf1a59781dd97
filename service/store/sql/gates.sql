-- name: lock  (returns whether the gate exists, deleted or not)
SELECT deleted_at IS NULL AS exists FROM gates WHERE org_id = $1 AND name = $2 FOR UPDATE

-- name: put  (the version of a deleted gate continues)
INSERT INTO gates (org_id, name, policy) VALUES ($1, $2, $3)
ON CONFLICT (org_id, name) DO UPDATE
    SET version = gates.version + (gates.policy <> excluded.policy)::int,
        updated_at = CASE WHEN gates.policy <> excluded.policy OR gates.deleted_at IS NOT NULL THEN now()
                          ELSE gates.updated_at END,
        policy = excluded.policy, deleted_at = NULL

-- name: delete
UPDATE gates SET deleted_at = now() WHERE org_id = $1 AND name = $2 AND deleted_at IS NULL RETURNING 1

-- name: find
SELECT version, policy FROM gates WHERE org_id = $1 AND name = $2 AND deleted_at IS NULL
