-- name: insert
INSERT INTO audit_trail (org_id, actor, action, subject, request_id, job) VALUES ($1, $2, $3, $4, $5, $6)

-- name: list_newest
SELECT rfc3339(a.at) AS at, a.actor, a.action, a.subject, a.request_id, k.name AS actor_name
FROM audit_trail a LEFT JOIN api_keys k ON k.org_id = a.org_id AND k.key_id = a.actor
WHERE a.org_id = $1 ORDER BY a.entry_id DESC LIMIT $2
