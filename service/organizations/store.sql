-- name: create
INSERT INTO organizations (slug, name) VALUES ($1, $2) RETURNING org_id

-- name: list_all
SELECT org_id, slug, name, rfc3339(created_at) AS created_at FROM organizations ORDER BY slug

-- name: find_by_slugs
SELECT slug, org_id FROM organizations WHERE slug = ANY ($1::text[])

-- name: find_slugs
SELECT org_id, slug FROM organizations WHERE org_id = ANY ($1::int[])
