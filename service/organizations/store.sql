-- Organizations, and the condition of a row that a statement requests (fetch_requested in service/database/pages.py).

-- name: create(slug, name)
INSERT INTO organizations (slug, name) VALUES (:slug, :name) RETURNING org_id

-- name: list_all()
SELECT org_id, slug, name, rfc3339(created_at) AS created_at FROM organizations ORDER BY slug

-- name: find_by_slugs(slugs)
SELECT slug, org_id FROM organizations WHERE slug = ANY (:slugs::text[])

-- name: find_slugs(org_ids)
SELECT org_id, slug FROM organizations WHERE org_id = ANY (:org_ids::int[])

-- name: requested_organization  (the rows can be of several organizations)
requested.org_id

-- name: one_organization  (all rows are of one organization, so that one shard of a distributed table has them)
:org_id::int
