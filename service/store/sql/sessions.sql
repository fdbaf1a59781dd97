-- name: find
-- Used before the organization is known: find_session is SECURITY DEFINER and reads the sessions of all organizations.
SELECT org_id, key_id, role, project_id FROM find_session($1)

-- name: insert
-- Only if the digest is that of the current secret of a valid key.
INSERT INTO sessions (org_id, session_sha256, key_id, secret_sha256, expires_at)
SELECT org_id, $4, key_id, secret_sha256, now() + $5
FROM api_keys
WHERE org_id = $1 AND key_id = $2 AND secret_sha256 = $3 AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > now())
RETURNING key_id

-- name: delete
DELETE FROM sessions WHERE org_id = $1 AND session_sha256 = $2 RETURNING key_id

-- name: delete_expired
-- At most $1 rows of all organizations. Sessions that ended with their secret also stay until they expire.
WITH deleted AS (
    DELETE FROM sessions
    WHERE ctid = ANY (ARRAY (SELECT ctid FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1))
    RETURNING org_id
)
SELECT count(*) FROM deleted
