-- name: set
INSERT INTO failure_tickets (org_id, fingerprint, ticket_url) VALUES ($1, $2, $3)
ON CONFLICT (org_id, fingerprint) DO UPDATE SET ticket_url = excluded.ticket_url, updated_at = excluded.updated_at

-- name: delete
DELETE FROM failure_tickets WHERE org_id = $1 AND fingerprint = $2
