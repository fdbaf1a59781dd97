-- $1 org_id
-- $2 publisher_id
-- $3 project_id

SELECT row_to_json(item)::text FROM (
    SELECT p.publisher_id AS id, p.name, p.provider, p.issuer, p.claims, p.project_id, p.role, p.enabled, p.created_by,
    (SELECT CASE left(actor.id, 4)
        WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
        WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
        WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
    END FROM (SELECT p.org_id, p.created_by AS id) actor) AS created_by_name,
    rfc3339(p.created_at) AS created_at, rfc3339(p.last_used_at) AS last_used_at FROM publishers p
    WHERE p.org_id = $1 AND p.publisher_id = $2
      AND ($3::text IS NULL OR p.project_id = $3) AND p.deleted_at IS NULL
) item;
