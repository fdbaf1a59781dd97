-- Quarantines of cases.

-- name: lock_list(org_id)  (so that only one transaction of an organization counts and inserts quarantines)
SELECT pg_advisory_xact_lock(hashtext('quarantines'), :org_id::int)

-- name: count_active(org_id, project_id)
SELECT count(*) FROM quarantines WHERE org_id = :org_id AND project_id = :project_id AND ended_at IS NULL AND expires_at > now()

-- name: insert(org_id, quarantine_id, project_id, case_key, suite, name, variant, reason, owner, ticket_url, expires_at,
--     created_by)
INSERT INTO quarantines (org_id, quarantine_id, project_id, case_key, suite, name, variant, reason, owner, ticket_url,
                         expires_at, created_by)
VALUES (:org_id, :quarantine_id, :project_id, :case_key, :suite, :name, :variant, :reason, :owner, :ticket_url, :expires_at,
        :created_by)

-- name: lock(org_id, quarantine_id, project_id)
--     (before a change; :project_id is the project to which the caller's key is bound)
SELECT reason, owner, ticket_url, expires_at, ended_at IS NULL AND expires_at > now() AS active FROM quarantines
WHERE org_id = :org_id AND quarantine_id = :quarantine_id AND {is_of_project}
FOR UPDATE

-- name: update(org_id, quarantine_id, reason, owner, ticket_url, expires_at)
UPDATE quarantines SET reason = :reason, owner = :owner, ticket_url = :ticket_url, expires_at = :expires_at
WHERE org_id = :org_id AND quarantine_id = :quarantine_id

-- name: set_ended(org_id, quarantine_id)
UPDATE quarantines SET ended_at = now() WHERE org_id = :org_id AND quarantine_id = :quarantine_id

-- name: find_active(org_id, project_id)  (as of the start of the transaction)
SELECT quarantine_id, case_key, suite, name, variant FROM quarantines
WHERE org_id = :org_id AND project_id = :project_id AND ended_at IS NULL AND expires_at > now()

-- name: find_of_cases(org_id, project_id)
--     (the active ones of single cases; one that a person ended while the case was flaky counts until its expiry)
SELECT quarantine_id, case_key, expires_at, replace(not_flaky_since::text, '-', '') AS not_flaky_since,
       created_by = 'policy' AND ended_at IS NULL AS is_of_policy
FROM quarantines
WHERE org_id = :org_id AND project_id = :project_id AND case_key IS NOT NULL AND expires_at > now()
      AND (ended_at IS NULL OR created_by = 'policy' AND not_flaky_since IS NULL)

-- name: change_of_policy(org_id, quarantine_ids, expires_at, not_flaky_since, ended)
UPDATE quarantines q
SET expires_at = new.expires_at, not_flaky_since = new.not_flaky_since,
    ended_at = CASE WHEN new.is_ended THEN now() END
FROM unnest(:quarantine_ids::text[], :expires_at::timestamptz[], :not_flaky_since::uuid[], :ended::bool[])
     AS new (quarantine_id, expires_at, not_flaky_since, is_ended)
WHERE q.org_id = :org_id AND q.quarantine_id = new.quarantine_id AND q.ended_at IS NULL

-- name: expire_of_policy(org_id, project_id)
UPDATE quarantines SET expires_at = now()
WHERE org_id = :org_id AND project_id = :project_id AND created_by = 'policy' AND ended_at IS NULL AND expires_at > now()

-- name: quarantine_fields
q.quarantine_id AS id, q.project_id, case_public_id(q.case_key) AS "case", NULL AS named_case, q.suite, q.name, q.variant, q.reason, q.owner,
q.ticket_url, rfc3339(q.expires_at) AS expires_at, q.ended_at IS NULL AND q.expires_at > now() AS active, q.created_by,
(SELECT {actor_name} FROM (SELECT q.org_id, q.created_by AS id) actor) AS created_by_name,
rfc3339(q.created_at) AS created_at, rfc3339(q.ended_at) AS ended_at

-- name: one_quarantine
SELECT row_to_json(item)::text FROM (
    SELECT {quarantine_fields} FROM quarantines q
    WHERE q.org_id = :org_id AND q.quarantine_id = :quarantine_id
      AND (:project_id::text IS NULL OR q.project_id = :project_id)
) item

-- name: listed_quarantines
SELECT {quarantine_fields} FROM quarantines q
WHERE q.org_id = :org_id AND q.quarantine_id < :before::text
  AND (:project_id::text IS NULL OR q.project_id = :project_id)
  AND (:case_key::bigint IS NULL OR q.case_key = :case_key)
  AND (:active::bool IS NULL OR (q.ended_at IS NULL AND q.expires_at > now()) = :active)
ORDER BY q.quarantine_id DESC LIMIT :page::int + 1

-- name: mark_expired  (of all organizations, at most :limit quarantines whose expiry isn't published yet)
WITH expired AS (
    UPDATE quarantines q SET is_expiry_published = true
    FROM (
        SELECT org_id, quarantine_id FROM quarantines
        WHERE ended_at IS NULL AND NOT is_expiry_published AND expires_at <= now()
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ) due
    WHERE q.org_id = due.org_id AND q.quarantine_id = due.quarantine_id
    RETURNING q.*
)
SELECT q.org_id, q.project_id, (SELECT row_to_json(item)::text FROM (SELECT {quarantine_fields}) item) AS data FROM expired q
