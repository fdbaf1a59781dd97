-- Trusted publishers, the exchanges of their tokens, and the keys of their jobs.

-- name: knows_issuer(issuer)
-- Used before the organization is known: the functions are SECURITY DEFINER and read the publishers of all organizations.
SELECT is_issuer_known(:issuer);

-- name: list_issuers()
SELECT issuer FROM list_issuers()

-- name: find_by_ids(issuer, identities)
SELECT org_id, slug, publisher_id, provider, claims, project_id, role, enabled FROM find_publishers(:issuer, :identities)

-- name: lock_unchanged(org_id, publisher_id, claims, project_id, role)
--     (until the transaction ends, so that a change waits, and then revokes the new key)
SELECT last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS is_outdated FROM publishers
WHERE org_id = :org_id AND publisher_id = :publisher_id AND claims = :claims AND project_id = :project_id AND role = :role
      AND enabled AND deleted_at IS NULL
FOR KEY SHARE

-- name: touch(org_id, publisher_id, default_name, name)
--     (at most once per minute, to limit writes; not if another exchange is doing it; :name replaces the default name
--     :default_name)
UPDATE publishers SET last_used_at = now(), name = CASE name WHEN :default_name THEN :name ELSE name END
WHERE org_id = :org_id AND publisher_id IN (
    SELECT publisher_id FROM publishers
    WHERE org_id = :org_id AND publisher_id = :publisher_id
          AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
    FOR NO KEY UPDATE SKIP LOCKED
)

-- name: lock_list(org_id)  (so that only one transaction of an organization counts and inserts publishers)
SELECT pg_advisory_xact_lock(hashtext('publishers'), :org_id::int)

-- name: count(org_id)
SELECT count(*) FROM publishers WHERE org_id = :org_id AND deleted_at IS NULL

-- name: insert(org_id, publisher_id, provider, issuer, project_id, name, claims, role, enabled, created_by)
INSERT INTO publishers (org_id, publisher_id, provider, issuer, project_id, name, claims, role, enabled, created_by)
VALUES (:org_id, :publisher_id, :provider, :issuer, :project_id, :name, :claims, :role, :enabled, :created_by)

-- name: lock(org_id, publisher_id, project_id)  (before a change; :project_id is the project to which the caller is bound)
SELECT provider, name, claims, role, enabled FROM publishers
WHERE org_id = :org_id AND publisher_id = :publisher_id AND {is_of_project}
    AND deleted_at IS NULL
FOR UPDATE

-- name: update(org_id, publisher_id, name, claims, role, enabled)
UPDATE publishers SET name = :name, claims = :claims, role = :role, enabled = :enabled
WHERE org_id = :org_id AND publisher_id = :publisher_id

-- name: set_deleted(org_id, publisher_id)
UPDATE publishers SET enabled = false, deleted_at = now() WHERE org_id = :org_id AND publisher_id = :publisher_id

-- name: lock_project(org_id, project_id)  (the publishers of a project that is being deleted)
SELECT publisher_id FROM publishers WHERE org_id = :org_id AND project_id = :project_id AND deleted_at IS NULL FOR UPDATE

-- name: revoke_keys(org_id, publisher_id)
UPDATE api_keys SET revoked_at = now() WHERE org_id = :org_id AND publisher_id = :publisher_id AND revoked_at IS NULL

-- name: list_all(org_id)  (for operators)
SELECT publisher_id, name, provider, issuer, claims, project_id, role, enabled, rfc3339(last_used_at) AS last_used_at
FROM publishers WHERE org_id = :org_id AND deleted_at IS NULL ORDER BY publisher_id DESC

-- name: insert_exchange(org_id, publisher_id, issuer, token_sha256, job, project_id, key_id, refusal, claims)
INSERT INTO token_exchanges (org_id, publisher_id, issuer, token_sha256, job, project_id, key_id, refusal, claims)
VALUES (:org_id, :publisher_id, :issuer, :token_sha256, :job, :project_id, :key_id, :refusal, :claims)

-- name: list_newest(org_id, project_id, publisher_id, retained)
--     (of the newest :retained; :project_id is the project to which the caller is bound)
SELECT rfc3339(e.at) AS at, e.publisher_id, p.name AS publisher_name, e.issuer, e.project_id, e.job, e.key_id, e.claims,
       e.refusal
FROM (
    SELECT * FROM token_exchanges WHERE org_id = :org_id ORDER BY exchange_id DESC LIMIT :retained
) e LEFT JOIN publishers p ON p.org_id = :org_id AND p.publisher_id = e.publisher_id
WHERE (:project_id::text IS NULL OR e.project_id = :project_id)
      AND (:publisher_id::text IS NULL OR e.publisher_id = :publisher_id)
ORDER BY e.exchange_id DESC

-- name: delete_outdated(retained, limit)
--     (of all organizations, at most :limit that aren't among the newest :retained of an organization)
WITH deleted AS (
    DELETE FROM token_exchanges
    WHERE ctid = ANY (ARRAY (
        SELECT outdated.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT exchange_id FROM token_exchanges
            WHERE org_id = org.org_id ORDER BY exchange_id DESC OFFSET :retained::int LIMIT 1
        ) newest_outdated CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM token_exchanges
            WHERE org_id = org.org_id AND exchange_id <= newest_outdated.exchange_id LIMIT :limit
        ) outdated
        LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: lock_token(org_id, token_sha256)  (until the transaction ends, so that concurrent exchanges of the token are counted)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', :org_id::int, encode(:token_sha256::bytea, 'hex')), 0))

-- name: lock_token_of_key(org_id, key_id)
--     (the same lock, before a revocation, so that no exchange in progress adds a key after it)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(E'\n', org_id, encode(token_sha256, 'hex')), 0)) FROM api_keys
WHERE org_id = :org_id AND key_id = :key_id AND token_sha256 IS NOT NULL

-- name: count_of_token(org_id, token_sha256)  (also revoked and expired keys, and whether one of them was revoked)
SELECT count(*) AS keys, coalesce(bool_or(revoked_at IS NOT NULL), false) AS revoked FROM api_keys
WHERE org_id = :org_id AND token_sha256 = :token_sha256

-- name: insert_job_key(org_id, key_id, name, role, project_id, secret_sha256, lifetime, publisher_id, token_sha256, job)
INSERT INTO api_keys (org_id, key_id, name, role, project_id, secret_sha256, expires_at, publisher_id, token_sha256, job)
VALUES (:org_id, :key_id, :name, :role, :project_id, :secret_sha256, now() + :lifetime::interval, :publisher_id,
        :token_sha256, :job)

-- name: delete_expired(after, limit)
-- At most :limit keys of publishers, of all organizations, that expired longer ago than :after. Receipts and the audit
-- trail name the publisher and the job, not the key.
WITH deleted AS (
    DELETE FROM api_keys
    WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM api_keys WHERE publisher_id IS NOT NULL AND expires_at < now() - :after::interval
        ORDER BY expires_at LIMIT :limit
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted

-- name: publisher_fields
p.publisher_id AS id, p.name, p.provider, p.issuer, p.claims, p.project_id, p.role, p.enabled, p.created_by,
(SELECT {actor_name} FROM (SELECT p.org_id, p.created_by AS id) actor) AS created_by_name,
rfc3339(p.created_at) AS created_at, rfc3339(p.last_used_at) AS last_used_at

-- name: one_publisher
SELECT row_to_json(item)::text FROM (
    SELECT {publisher_fields} FROM publishers p
    WHERE p.org_id = :org_id AND p.publisher_id = :publisher_id
      AND (:project_id::text IS NULL OR p.project_id = :project_id) AND p.deleted_at IS NULL
) item

-- name: listed_publishers
SELECT {publisher_fields} FROM publishers p
WHERE p.org_id = :org_id AND p.publisher_id < :before::text
  AND (:project_id::text IS NULL OR p.project_id = :project_id) AND p.deleted_at IS NULL
ORDER BY p.publisher_id DESC LIMIT :page::int + 1
