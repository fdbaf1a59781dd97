-- name: insert
INSERT INTO audit_trail (org_id, actor, action, subject, request_id) VALUES ($1, $2, $3, $4, $5)

-- name: list_newest
SELECT rfc3339(at) AS at, actor, action, subject, request_id FROM audit_trail
WHERE org_id = $1 ORDER BY entry_id DESC LIMIT $2
