-- name: delete_run  (first, so that ingest of the same run waits)
DELETE FROM runs WHERE org_id = $1 AND run_id = $2 AND ($3::text IS NULL OR project_id = $3)
RETURNING run_key, project_id, trusted IS NOT FALSE AS trusted

-- name: delete_results
DELETE FROM results WHERE org_id = $1 AND run_key = $2

-- name: delete_details
DELETE FROM result_details WHERE org_id = $1 AND run_key = $2

-- name: delete_shard_results
DELETE FROM shard_results WHERE org_id = $1 AND run_key = $2

-- name: delete_parts
DELETE FROM run_parts WHERE org_id = $1 AND run_key = $2

-- name: expire_exports  (exports whose files are artifacts of the run)
UPDATE exports SET status = 'expired', path = NULL
WHERE org_id = $1 AND run_id = $3 AND path IN (SELECT path FROM artifacts WHERE org_id = $1 AND run_key = $2)

-- name: queue_folder  (of uploads that a killed process left in the folder of the run; $3: when no upload is in progress)
INSERT INTO file_deletions (org_id, path, due_at)
VALUES ($1, format('artifacts/%s/%s/', $1::int, replace($2::uuid::text, '-', '')), now() + $3)
ON CONFLICT DO NOTHING

-- name: delete_artifacts  (upkeep deletes their files, except $3, which belong to reports that are stored again)
WITH deleted AS (DELETE FROM artifacts WHERE org_id = $1 AND run_key = $2 RETURNING path)
INSERT INTO file_deletions (org_id, path) SELECT DISTINCT $1::int, path FROM deleted
WHERE path IS NOT NULL AND path <> ALL ($3::text[])
ON CONFLICT DO NOTHING
