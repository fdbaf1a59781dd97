-- name: insert(org_id, user_id, project_id)
INSERT INTO producers (org_id, user_id, project_id) VALUES (:org_id, :user_id, :project_id) ON CONFLICT DO NOTHING RETURNING 1

-- name: list_all(org_id)
SELECT user_id, project_id, rfc3339(created_at) AS created_at FROM producers
WHERE org_id = :org_id ORDER BY user_id, project_id NULLS FIRST

-- name: delete(org_id, user_id, project_id)  (without :project_id, all registrations of the user in the organization)
DELETE FROM producers WHERE org_id = :org_id AND user_id = :user_id AND {is_of_project} RETURNING 1

-- name: is_registered(user_id)  (for any organization)
SELECT EXISTS (SELECT FROM producers WHERE user_id = :user_id)
