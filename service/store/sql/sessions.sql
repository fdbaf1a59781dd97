-- name: find
-- Used before the organization is known: the functions are SECURITY DEFINER and read the sessions of all organizations.
SELECT org_id, key_id AS credential_id, role, project_id, NULL AS member_id FROM find_session($1)
UNION ALL
SELECT org_id, person_id, role, project_id, member_id FROM find_person_session($1)

-- name: insert
-- Only if the digest is that of the current secret of a valid key.
INSERT INTO sessions (org_id, session_sha256, key_id, secret_sha256, expires_at)
SELECT org_id, $4, key_id, secret_sha256, now() + $5
FROM api_keys
WHERE org_id = $1 AND key_id = $2 AND secret_sha256 = $3 AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > now())
RETURNING key_id

-- name: insert_of_person
INSERT INTO sessions (org_id, session_sha256, person_id, member_id, has_choices, expires_at)
VALUES ($1, $2, $3, $4, $5, now() + $6)

-- name: has_choices
SELECT coalesce(has_choices, true) FROM sessions WHERE org_id = $1 AND session_sha256 = $2

-- name: delete
DELETE FROM sessions WHERE org_id = $1 AND session_sha256 = $2 RETURNING session_sha256

-- name: delete_expired
-- At most $1 rows of all organizations. Sessions that ended with their secret also stay until they expire.
WITH deleted AS (
    DELETE FROM sessions
    WHERE ctid = ANY (ARRAY (SELECT ctid FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT $1))
    RETURNING org_id
)
SELECT count(*) FROM deleted

-- name: insert_sign_in  (of a person who still has to choose a membership)
INSERT INTO sign_ins (sign_in_sha256, identity, expires_at) VALUES ($1, $2, now() + $3)

-- name: find_sign_in
SELECT identity FROM sign_ins WHERE sign_in_sha256 = $1 AND expires_at > now()

-- name: delete_sign_in
DELETE FROM sign_ins WHERE sign_in_sha256 = $1

-- name: delete_expired_sign_ins
DELETE FROM sign_ins WHERE expires_at < now()
