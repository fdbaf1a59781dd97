-- Trusted publishers as the API returns them, in fragments that service/database/composition.py composes.

-- name: publisher_fields
p.publisher_id AS id, p.name, p.provider, p.issuer, p.claims, p.project_id, p.role, p.enabled, p.created_by,
(SELECT {actor_name} FROM (SELECT p.org_id, p.created_by AS id) actor) AS created_by_name,
rfc3339(p.created_at) AS created_at, rfc3339(p.last_used_at) AS last_used_at

-- name: one_publisher
SELECT row_to_json(item)::text FROM (
    SELECT {publisher_fields} FROM publishers p
    WHERE p.org_id = :org_id AND p.publisher_id = :publisher_id
      AND (:project_id::text IS NULL OR p.project_id = :project_id) AND p.deleted_at IS NULL
) item

-- name: listed_publishers
SELECT {publisher_fields} FROM publishers p
WHERE p.org_id = :org_id AND p.publisher_id < :before::text
  AND (:project_id::text IS NULL OR p.project_id = :project_id) AND p.deleted_at IS NULL
ORDER BY p.publisher_id DESC LIMIT :page::int + 1
