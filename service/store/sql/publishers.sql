-- name: find_by_issuer
-- Used before the organization is known: find_publishers is SECURITY DEFINER and reads the publishers of all organizations.
SELECT org_id, slug, publisher_id, provider, claims, project_id, role FROM find_publishers($1)
