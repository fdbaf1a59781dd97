-- name: insert
INSERT INTO producers (org_id, user_id, project_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING 1

-- name: list_all
SELECT user_id, project_id, rfc3339(created_at) AS created_at FROM producers
WHERE org_id = $1 ORDER BY user_id, project_id NULLS FIRST

-- name: delete  (without $3, all registrations of the user in the organization)
DELETE FROM producers WHERE org_id = $1 AND user_id = $2 AND ($3::text IS NULL OR project_id = $3) RETURNING 1

-- name: is_registered  (for any organization)
SELECT EXISTS (SELECT FROM producers WHERE user_id = $1)
