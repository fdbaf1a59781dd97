-- Members, the people who signed in, and their sessions.

-- name: find_memberships(issuer, subject, email, groups)
-- Used before the organization is known: the function is SECURITY DEFINER and reads the members of all organizations.
SELECT org_id, slug, member_id, role, project_id FROM find_memberships(:issuer, :subject, :email, :groups)

-- name: record_person(org_id, person_id, issuer, subject, email, name)
--     (returns the ID of the person, which is :person_id at the first sign-in)
INSERT INTO people AS known (org_id, person_id, issuer, subject, email, name)
VALUES (:org_id, :person_id, :issuer, :subject, :email, :name)
ON CONFLICT ON CONSTRAINT people_unique DO UPDATE
    SET email = excluded.email, name = excluded.name, last_seen_at = now()
RETURNING person_id

-- name: bind_email(org_id, person_id, email)
-- All members with this email, which the person has proven to own. Later, no other person with the same email matches them.
UPDATE members SET person_id = :person_id
WHERE org_id = :org_id AND email = :email AND person_id IS NULL AND removed_at IS NULL

-- name: confirm(org_id, member_id, person_id, groups)
--     (that the person can still use the membership, whose row can have changed since find_memberships)
UPDATE members SET last_seen_at = now()
WHERE org_id = :org_id AND member_id = :member_id AND removed_at IS NULL
      AND (person_id = :person_id OR group_name = ANY (:groups::text[]))
RETURNING member_id

-- name: touch_member(org_id, member_id)  (at most once per minute, to limit writes)
UPDATE members SET last_seen_at = now()
WHERE org_id = :org_id AND member_id = :member_id AND (last_seen_at IS NULL OR last_seen_at < now() - interval '1 minute')

-- name: touch_person(org_id, person_id)
UPDATE people SET last_seen_at = now()
WHERE org_id = :org_id AND person_id = :person_id AND last_seen_at < now() - interval '1 minute'

-- name: find_person(org_id, person_id)
SELECT email, name FROM people WHERE org_id = :org_id AND person_id = :person_id

-- name: lock_list(org_id)  (so that only one transaction of an organization counts, adds, and changes members)
SELECT pg_advisory_xact_lock(hashtext('members'), :org_id::int)

-- name: count(org_id)
SELECT count(*) FROM members WHERE org_id = :org_id AND removed_at IS NULL

-- name: insert(org_id, member_id, email, group_name, role, project_id, created_by)
--     (returns no row if there is the same member)
INSERT INTO members (org_id, member_id, email, group_name, role, project_id, created_by)
VALUES (:org_id, :member_id, :email, :group_name, :role, :project_id, :created_by)
ON CONFLICT DO NOTHING
RETURNING member_id

-- name: lock(org_id, member_id, project_id)  (:project_id is the project to which the caller is bound)
SELECT email, group_name, role, project_id FROM members
WHERE org_id = :org_id AND member_id = :member_id AND removed_at IS NULL AND {is_of_project}
FOR UPDATE

-- name: has_same(org_id, member_id, email, group_name, project_id)
--     (whether another member has this email or group in this project, or in all projects)
SELECT EXISTS (
    SELECT FROM members
    WHERE org_id = :org_id AND member_id <> :member_id AND (email = :email OR group_name = :group_name)
          AND project_id IS NOT DISTINCT FROM :project_id
          AND removed_at IS NULL
)

-- name: update(org_id, member_id, role, project_id)
UPDATE members SET role = :role, project_id = :project_id WHERE org_id = :org_id AND member_id = :member_id

-- name: remove(org_id, member_id, project_id)
--     (which ends the sessions; the row stays because the audit trail names the member)
UPDATE members SET removed_at = now()
WHERE org_id = :org_id AND member_id = :member_id AND removed_at IS NULL AND {is_of_project}
RETURNING member_id

-- name: find(session_sha256)
-- Used before the organization is known: the functions are SECURITY DEFINER and read the sessions of all organizations.
SELECT org_id, key_id AS credential_id, role, project_id, NULL AS member_id FROM find_session(:session_sha256)
UNION ALL
SELECT org_id, person_id, role, project_id, member_id FROM find_person_session(:session_sha256)

-- name: insert_session(org_id, key_id, secret_sha256, session_sha256, lifetime)
-- Only if the digest is that of the current secret of a valid key.
INSERT INTO sessions (org_id, session_sha256, key_id, secret_sha256, expires_at)
SELECT org_id, :session_sha256, key_id, secret_sha256, now() + :lifetime
FROM api_keys
WHERE org_id = :org_id AND key_id = :key_id AND secret_sha256 = :secret_sha256 AND revoked_at IS NULL
      AND (expires_at IS NULL OR expires_at > now())
RETURNING key_id

-- name: insert_of_person(org_id, session_sha256, person_id, member_id, has_choices, lifetime)
INSERT INTO sessions (org_id, session_sha256, person_id, member_id, has_choices, expires_at)
VALUES (:org_id, :session_sha256, :person_id, :member_id, :has_choices, now() + :lifetime)

-- name: has_choices(org_id, session_sha256)
SELECT coalesce(has_choices, true) FROM sessions WHERE org_id = :org_id AND session_sha256 = :session_sha256

-- name: delete(org_id, session_sha256)
DELETE FROM sessions WHERE org_id = :org_id AND session_sha256 = :session_sha256 RETURNING session_sha256

-- name: delete_expired(limit)
-- At most :limit rows of all organizations. Sessions that ended with their secret also stay until they expire.
WITH deleted AS (
    DELETE FROM sessions
    WHERE ctid = ANY (ARRAY (SELECT ctid FROM sessions WHERE expires_at < now() ORDER BY expires_at LIMIT :limit))
    RETURNING org_id
)
SELECT count(*) FROM deleted

-- name: insert_sign_in(sign_in_sha256, identity, lifetime)  (of a person who still has to choose a membership)
INSERT INTO sign_ins (sign_in_sha256, identity, expires_at) VALUES (:sign_in_sha256, :identity, now() + :lifetime)

-- name: find_sign_in(sign_in_sha256)
SELECT identity FROM sign_ins WHERE sign_in_sha256 = :sign_in_sha256 AND expires_at > now()

-- name: delete_sign_in(sign_in_sha256)
DELETE FROM sign_ins WHERE sign_in_sha256 = :sign_in_sha256

-- name: delete_expired_sign_ins()
DELETE FROM sign_ins WHERE expires_at < now()

-- name: member_fields
m.member_id AS id, m.email, m.group_name AS "group", m.role, m.project_id,
(SELECT p.name FROM people p WHERE p.org_id = m.org_id AND p.person_id = m.person_id) AS name,
rfc3339(m.last_seen_at) AS last_seen_at, m.created_by,
(SELECT {actor_name} FROM (SELECT m.org_id, m.created_by AS id) actor) AS created_by_name, rfc3339(m.created_at) AS created_at

-- name: one_member
SELECT row_to_json(item)::text FROM (
    SELECT {member_fields} FROM members m
    WHERE m.org_id = :org_id AND m.member_id = :member_id AND m.removed_at IS NULL
      AND (:project_id::text IS NULL OR m.project_id = :project_id)
) item

-- name: listed_members
SELECT {member_fields} FROM members m
WHERE m.org_id = :org_id AND m.member_id < :before::text AND m.removed_at IS NULL
  AND (:project_id::text IS NULL OR m.project_id = :project_id)
ORDER BY m.member_id DESC LIMIT :page::int + 1
