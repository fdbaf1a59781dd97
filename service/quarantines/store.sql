-- name: lock_list  (so that only one transaction of an organization counts and inserts quarantines)
SELECT pg_advisory_xact_lock(hashtext('quarantines'), $1::int)

-- name: count_active
SELECT count(*) FROM quarantines WHERE org_id = $1 AND project_id = $2 AND ended_at IS NULL AND expires_at > now()

-- name: insert
INSERT INTO quarantines (org_id, quarantine_id, project_id, case_key, suite, name, variant, reason, owner, ticket_url,
                         expires_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)

-- name: lock  (before a change; $3 is the project to which the caller's key is bound)
SELECT reason, owner, ticket_url, expires_at, ended_at IS NULL AND expires_at > now() AS active FROM quarantines
WHERE org_id = $1 AND quarantine_id = $2 AND ($3::text IS NULL OR project_id = $3)
FOR UPDATE

-- name: update
UPDATE quarantines SET reason = $3, owner = $4, ticket_url = $5, expires_at = $6 WHERE org_id = $1 AND quarantine_id = $2

-- name: set_ended
UPDATE quarantines SET ended_at = now() WHERE org_id = $1 AND quarantine_id = $2

-- name: find_active  (as of the start of the transaction)
SELECT quarantine_id, case_key, suite, name, variant FROM quarantines
WHERE org_id = $1 AND project_id = $2 AND ended_at IS NULL AND expires_at > now()
