-- name: insert
INSERT INTO audit_trail (org_id, actor, action, subject, request_id, job) VALUES ($1, $2, $3, $4, $5, $6)
