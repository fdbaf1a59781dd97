-- name: find_active  (as of the start of the transaction)
SELECT quarantine_id, case_key, suite, name, variant FROM quarantines
WHERE org_id = $1 AND project_id = $2 AND ended_at IS NULL AND expires_at > now()
