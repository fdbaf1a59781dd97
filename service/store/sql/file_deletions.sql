-- name: queue
INSERT INTO file_deletions (org_id, path) SELECT $1::int, path FROM unnest($2::text[]) path ON CONFLICT DO NOTHING

-- name: claim  (of all organizations, oldest first)
UPDATE file_deletions SET due_at = now() + $1
WHERE (org_id, path) IN (
    SELECT org_id, path FROM file_deletions WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING org_id, path

-- name: finish
DELETE FROM file_deletions d USING unnest($1::int[], $2::text[]) AS deleted (org_id, path)
WHERE d.org_id = deleted.org_id AND d.path = deleted.path
