-- name: find(key_ids)
-- Used before the organization is known: find_stored_key is SECURITY DEFINER and reads the keys of all organizations.
SELECT requested.key_id, found.org_id, role, project_id, secret_sha256, previous_sha256, previous_expires_at, expires_at,
       revoked_at, job
FROM unnest(:key_ids::text[]) AS requested (key_id) CROSS JOIN LATERAL find_stored_key(requested.key_id) found

-- name: insert(org_id, key_id, name, role, project_id, secret_sha256, expires_at)
INSERT INTO api_keys (org_id, key_id, name, role, project_id, secret_sha256, expires_at)
VALUES (:org_id, :key_id, :name, :role, :project_id, :secret_sha256, :expires_at)

-- name: key_fields  (the public key object)
key_id AS id, name, role, project_id, rfc3339(created_at) AS created_at, rfc3339(expires_at) AS expires_at,
rfc3339(revoked_at) AS revoked_at, rfc3339(last_used_at) AS last_used_at

-- name: list_page(org_id, before, project_id, limit)
-- Newest first, because an ID starts with its creation time. Keys of publishers aren't listed.
SELECT {key_fields}
FROM api_keys
WHERE org_id = :org_id AND key_id < :before AND publisher_id IS NULL AND {is_of_project}
ORDER BY key_id DESC LIMIT :limit

-- name: find_one(org_id, key_id)
SELECT {key_fields}
FROM api_keys
WHERE org_id = :org_id AND key_id = :key_id

-- name: find_name(org_id, key_id)
SELECT name FROM api_keys WHERE org_id = :org_id AND key_id = :key_id

-- name: revoke(org_id, key_id, project_id)
-- The row isn't deleted because the audit trail refers to it. All keys of an ID token end together, in any project.
WITH named AS (
    SELECT key_id, token_sha256 FROM api_keys
    WHERE org_id = :org_id AND key_id = :key_id AND revoked_at IS NULL AND {is_of_project}
)
UPDATE api_keys k SET revoked_at = now()
FROM named
WHERE k.org_id = :org_id AND (k.key_id = named.key_id OR k.token_sha256 = named.token_sha256) AND k.revoked_at IS NULL
RETURNING k.key_id

-- name: rotate(org_id, key_id, secret_sha256, overlap, project_id)
-- The previous secret remains valid for the interval :overlap. A key of a publisher ends with its ID token.
UPDATE api_keys
SET previous_sha256 = secret_sha256, previous_expires_at = now() + :overlap, secret_sha256 = :secret_sha256
WHERE org_id = :org_id AND key_id = :key_id AND revoked_at IS NULL AND publisher_id IS NULL
      AND {is_of_project}
RETURNING key_id

-- name: touch(org_id, key_id)
-- At most once per minute, to limit writes.
UPDATE api_keys SET last_used_at = now()
WHERE org_id = :org_id AND key_id = :key_id AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
