-- name: insert
INSERT INTO audit_trail (org_id, actor, action, subject, request_id, job) VALUES ($1, $2, $3, $4, $5, $6)

-- name: try_lock
-- Lock until the transaction ends. A second request with the key fails immediately instead of waiting for the first.
SELECT pg_try_advisory_xact_lock(
    hashtextextended(concat_ws(E'\n', $1::int, $2::text, $3::text, encode($4::bytea, 'hex'), $5::text), 0)
)

-- name: find
SELECT request_sha256, status, body, location FROM idempotency_keys
WHERE org_id = $1 AND api_key_id = $2 AND method = $3 AND path_sha256 = $4 AND key = $5
  AND created_at > now() - interval '24 hours'

-- name: insert_response
-- Replaces an expired row with the same key.
INSERT INTO idempotency_keys (org_id, api_key_id, method, path_sha256, key, request_sha256, status, body, location)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (org_id, api_key_id, method, path_sha256, key) DO UPDATE
    SET request_sha256 = excluded.request_sha256, status = excluded.status, body = excluded.body,
        location = excluded.location, created_at = now()

-- name: delete_expired
-- At most $1 rows of all organizations. PostgreSQL rechecks the first condition if a row is replaced concurrently.
WITH deleted AS (
    DELETE FROM idempotency_keys
    WHERE created_at < now() - interval '24 hours' AND ctid = ANY (ARRAY (
        SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT $1
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted
