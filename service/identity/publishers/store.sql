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

-- name: insert_exchange
INSERT INTO token_exchanges (org_id, publisher_id, issuer, token_sha256, job, project_id, key_id, refusal, claims)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: list_newest  (of the newest $4; $2 is the project to which the caller is bound)
SELECT rfc3339(e.at) AS at, e.publisher_id, p.name AS publisher_name, e.issuer, e.project_id, e.job, e.key_id, e.claims,
       e.refusal
FROM (
    SELECT * FROM token_exchanges WHERE org_id = $1 ORDER BY exchange_id DESC LIMIT $4
) e LEFT JOIN publishers p ON p.org_id = $1 AND p.publisher_id = e.publisher_id
WHERE ($2::text IS NULL OR e.project_id = $2) AND ($3::text IS NULL OR e.publisher_id = $3)
ORDER BY e.exchange_id DESC

-- name: delete_outdated  (of all organizations, at most $2 that aren't among the newest $1 of an organization)
WITH deleted AS (
    DELETE FROM token_exchanges
    WHERE ctid = ANY (ARRAY (
        SELECT outdated.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT exchange_id FROM token_exchanges
            WHERE org_id = org.org_id ORDER BY exchange_id DESC OFFSET $1::int LIMIT 1
        ) newest_outdated CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM token_exchanges
            WHERE org_id = org.org_id AND exchange_id <= newest_outdated.exchange_id LIMIT $2
        ) outdated
        LIMIT $2
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: lock_token  (until the transaction ends, so that concurrent exchanges of the token are counted)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', $1::int, encode($2::bytea, 'hex')), 0))

-- name: lock_token_of_key  (the same lock, before a revocation, so that no exchange in progress adds a key after it)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', org_id, encode(token_sha256, 'hex')), 0)) FROM api_keys
WHERE org_id = $1 AND key_id = $2 AND token_sha256 IS NOT NULL

-- name: count_of_token  (also revoked and expired keys, and whether one of them was revoked)
SELECT count(*) AS keys, coalesce(bool_or(revoked_at IS NOT NULL), false) AS revoked FROM api_keys
WHERE org_id = $1 AND token_sha256 = $2

-- name: insert_job_key
INSERT INTO api_keys (org_id, key_id, name, role, project_id, secret_sha256, expires_at, publisher_id, token_sha256, job)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval, $8, $9, $10)

-- name: delete_expired
-- At most $2 keys of publishers, of all organizations, that expired longer ago than $1. Receipts and the audit trail name
-- the publisher and the job, not the key.
WITH deleted AS (
    DELETE FROM api_keys
    WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM api_keys WHERE publisher_id IS NOT NULL AND expires_at < now() - $1::interval
        ORDER BY expires_at LIMIT $2
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted
