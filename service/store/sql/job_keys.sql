-- name: lock_token  (until the transaction ends, so that concurrent exchanges of the token are counted)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', $1::int, encode($2::bytea, 'hex')), 0))

-- name: lock_token_of_key  (the same lock, before a revocation, so that no exchange in progress adds a key after it)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', org_id, encode(token_sha256, 'hex')), 0)) FROM api_keys
WHERE org_id = $1 AND key_id = $2 AND token_sha256 IS NOT NULL

-- name: count_of_token  (also revoked and expired keys, and whether one of them was revoked)
SELECT count(*) AS keys, coalesce(bool_or(revoked_at IS NOT NULL), false) AS revoked FROM api_keys
WHERE org_id = $1 AND token_sha256 = $2

-- name: insert
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
