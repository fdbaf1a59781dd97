-- Members as the API returns them, in fragments that service/database/composition.py composes.

-- name: member_fields
m.member_id AS id, m.email, m.group_name AS "group", m.role, m.project_id,
(SELECT p.name FROM people p WHERE p.org_id = m.org_id AND p.person_id = m.person_id) AS name,
rfc3339(m.last_seen_at) AS last_seen_at, m.created_by,
(SELECT {actor_name} FROM (SELECT m.org_id, m.created_by AS id) actor) AS created_by_name, rfc3339(m.created_at) AS created_at

-- name: one_member
SELECT row_to_json(item)::text FROM (
    SELECT {member_fields} FROM members m
    WHERE m.org_id = :org_id AND m.member_id = :member_id AND m.removed_at IS NULL
      AND (:project_id::text IS NULL OR m.project_id = :project_id)
) item

-- name: listed_members
SELECT {member_fields} FROM members m
WHERE m.org_id = :org_id AND m.member_id < :before::text AND m.removed_at IS NULL
  AND (:project_id::text IS NULL OR m.project_id = :project_id)
ORDER BY m.member_id DESC LIMIT :page::int + 1
