-- $1 org_id
-- $2 name

SELECT row_to_json(item)::text
FROM (
    SELECT g.name, g.version, g.policy, rfc3339(g.updated_at) AS updated_at FROM gates g
    WHERE g.org_id = $1 AND g.name = $2 AND g.deleted_at IS NULL
) item;
