-- name: knows_issuer
-- Used before the organization is known: the functions are SECURITY DEFINER and read the publishers of all organizations.
SELECT is_issuer_known($1);

-- name: list_issuers
SELECT issuer FROM list_issuers()

-- name: find_by_ids
SELECT org_id, slug, publisher_id, provider, claims, project_id, role, enabled FROM find_publishers($1, $2)

-- name: lock_unchanged  (until the transaction ends, so that a change waits, and then revokes the new key)
SELECT last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS is_outdated FROM publishers
WHERE org_id = $1 AND publisher_id = $2 AND claims = $3 AND project_id = $4 AND role = $5 AND enabled AND deleted_at IS NULL
FOR KEY SHARE

-- name: touch  (at most once per minute, to limit writes; not if another exchange is doing it; $4 replaces the default name $3)
UPDATE publishers SET last_used_at = now(), name = CASE name WHEN $3 THEN $4 ELSE name END
WHERE org_id = $1 AND publisher_id IN (
    SELECT publisher_id FROM publishers
    WHERE org_id = $1 AND publisher_id = $2 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
    FOR NO KEY UPDATE SKIP LOCKED
)

-- name: lock_list  (so that only one transaction of an organization counts and inserts publishers)
SELECT pg_advisory_xact_lock(hashtext('publishers'), $1::int)

-- name: count
SELECT count(*) FROM publishers WHERE org_id = $1 AND deleted_at IS NULL

-- name: insert
INSERT INTO publishers (org_id, publisher_id, provider, issuer, project_id, name, claims, role, enabled, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: lock  (before a change; $3 is the project to which the caller is bound)
SELECT provider, name, claims, role, enabled FROM publishers
WHERE org_id = $1 AND publisher_id = $2 AND ($3::text IS NULL OR project_id = $3) AND deleted_at IS NULL
FOR UPDATE

-- name: update
UPDATE publishers SET name = $3, claims = $4, role = $5, enabled = $6 WHERE org_id = $1 AND publisher_id = $2

-- name: set_deleted
UPDATE publishers SET enabled = false, deleted_at = now() WHERE org_id = $1 AND publisher_id = $2

-- name: lock_project  (the publishers of a project that is being deleted)
SELECT publisher_id FROM publishers WHERE org_id = $1 AND project_id = $2 AND deleted_at IS NULL FOR UPDATE

-- name: revoke_keys
UPDATE api_keys SET revoked_at = now() WHERE org_id = $1 AND publisher_id = $2 AND revoked_at IS NULL

-- name: list_all  (for operators)
SELECT publisher_id, name, provider, issuer, claims, project_id, role, enabled, rfc3339(last_used_at) AS last_used_at
FROM publishers WHERE org_id = $1 AND deleted_at IS NULL ORDER BY publisher_id DESC
