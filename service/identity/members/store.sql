-- name: find_memberships
-- Used before the organization is known: the function is SECURITY DEFINER and reads the members of all organizations.
SELECT org_id, slug, member_id, role, project_id FROM find_memberships($1, $2, $3, $4)

-- name: record_person  (returns the ID of the person, which is $2 at the first sign-in)
INSERT INTO people AS known (org_id, person_id, issuer, subject, email, name) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT ON CONSTRAINT people_unique DO UPDATE
    SET email = excluded.email, name = excluded.name, last_seen_at = now()
RETURNING person_id

-- name: bind_email
-- All members with this email, which the person has proven to own. Later, nobody else with the same email matches them.
UPDATE members SET person_id = $2
WHERE org_id = $1 AND email = $3 AND person_id IS NULL AND removed_at IS NULL

-- name: confirm  (that the person can still use the membership, whose row can have changed since find_memberships)
UPDATE members SET last_seen_at = now()
WHERE org_id = $1 AND member_id = $2 AND removed_at IS NULL AND (person_id = $3 OR group_name = ANY ($4::text[]))
RETURNING member_id

-- name: touch_member  (at most once per minute, to limit writes)
UPDATE members SET last_seen_at = now()
WHERE org_id = $1 AND member_id = $2 AND (last_seen_at IS NULL OR last_seen_at < now() - interval '1 minute')

-- name: touch_person
UPDATE people SET last_seen_at = now()
WHERE org_id = $1 AND person_id = $2 AND last_seen_at < now() - interval '1 minute'

-- name: find_person
SELECT email, name FROM people WHERE org_id = $1 AND person_id = $2

-- name: lock_list  (so that only one transaction of an organization counts, adds, and changes members)
SELECT pg_advisory_xact_lock(hashtext('members'), $1::int)

-- name: count
SELECT count(*) FROM members WHERE org_id = $1 AND removed_at IS NULL

-- name: insert  (returns no row if there is the same member)
INSERT INTO members (org_id, member_id, email, group_name, role, project_id, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
RETURNING member_id

-- name: lock  ($3 is the project to which the caller is bound)
SELECT email, group_name, role, project_id FROM members
WHERE org_id = $1 AND member_id = $2 AND removed_at IS NULL AND ($3::text IS NULL OR project_id = $3)
FOR UPDATE

-- name: has_same  (whether another member has this email or group in this project, or in all projects)
SELECT EXISTS (
    SELECT FROM members
    WHERE org_id = $1 AND member_id <> $2 AND (email = $3 OR group_name = $4) AND project_id IS NOT DISTINCT FROM $5
          AND removed_at IS NULL
)

-- name: update
UPDATE members SET role = $3, project_id = $4 WHERE org_id = $1 AND member_id = $2

-- name: remove  (which ends the sessions; the row stays because the audit trail names the member)
UPDATE members SET removed_at = now()
WHERE org_id = $1 AND member_id = $2 AND removed_at IS NULL AND ($3::text IS NULL OR project_id = $3)
RETURNING member_id

-- name: find
-- Used before the organization is known: the functions are SECURITY DEFINER and read the sessions of all organizations.
SELECT org_id, key_id AS credential_id, role, project_id, NULL AS member_id FROM find_session($1)
UNION ALL
SELECT org_id, person_id, role, project_id, member_id FROM find_person_session($1)

-- name: insert_session
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
