-- $1 page
-- $2 org_id
-- $3 after

SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE row_no <= $1::int), '') || ']' AS data,
       CASE WHEN count(*) > $1::int THEN max(name) FILTER (WHERE row_no <= $1::int) END AS next
FROM (
    SELECT row_to_json(page)::text AS item, name, row_number() OVER (ORDER BY name) AS row_no
    FROM (
        SELECT g.name, g.version, g.policy, rfc3339(g.updated_at) AS updated_at FROM gates g
        WHERE g.org_id = $2 AND g.name > $3::text AND g.deleted_at IS NULL
        ORDER BY g.name LIMIT $1::int + 1
    ) page
) numbered;
