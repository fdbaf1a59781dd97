-- The audit trail, and the responses that are stored for repeated requests. An actor of the trail is an API key, a trusted
-- publisher, or a person.

-- name: insert(org_id, actor, action, subject, request_id, job)
INSERT INTO audit_trail (org_id, actor, action, subject, request_id, job)
VALUES (:org_id, :actor, :action, :subject, :request_id, :job)

-- name: try_lock(org_id, api_key_id, method, path_sha256, key)
-- Lock until the transaction ends. A second request with the key fails immediately instead of waiting for the first.
SELECT pg_try_advisory_xact_lock(
    hashtextextended(
        concat_ws(E'\n', :org_id::int, :api_key_id::text, :method::text, encode(:path_sha256::bytea, 'hex'), :key::text), 0)
)

-- name: find(org_id, api_key_id, method, path_sha256, key)
SELECT request_sha256, status, body, location FROM idempotency_keys
WHERE org_id = :org_id AND api_key_id = :api_key_id AND method = :method AND path_sha256 = :path_sha256 AND key = :key
  AND created_at > now() - interval '24 hours'

-- name: insert_response(org_id, api_key_id, method, path_sha256, key, request_sha256, status, body, location)
-- Replaces an expired row with the same key.
INSERT INTO idempotency_keys (org_id, api_key_id, method, path_sha256, key, request_sha256, status, body, location)
VALUES (:org_id, :api_key_id, :method, :path_sha256, :key, :request_sha256, :status, :body, :location)
ON CONFLICT (org_id, api_key_id, method, path_sha256, key) DO UPDATE
    SET request_sha256 = excluded.request_sha256, status = excluded.status, body = excluded.body,
        location = excluded.location, created_at = now()

-- name: delete_expired(limit)
-- At most :limit rows of all organizations. PostgreSQL rechecks the first condition if a row is replaced concurrently.
WITH deleted AS (
    DELETE FROM idempotency_keys
    WHERE created_at < now() - interval '24 hours' AND ctid = ANY (ARRAY (
        SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT :limit
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted

-- name: newest_audit_entries
SELECT rfc3339(a.at) AS at, a.actor, a.action, a.subject, a.request_id, {actor_name} AS actor_name, a.job
FROM (SELECT * FROM audit_trail WHERE org_id = :org_id ORDER BY entry_id DESC LIMIT :page) a
CROSS JOIN LATERAL (SELECT a.org_id, a.actor AS id) actor
ORDER BY a.entry_id DESC

-- name: actor_name  (of the row `actor`, with org_id and id; null if the actor is the command line or was erased)
CASE left(actor.id, 4)
    WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
    WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
    WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                      WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
    WHEN 'poli' THEN 'automatic quarantine'
END
