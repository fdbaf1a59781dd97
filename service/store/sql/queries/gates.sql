-- Gates as the API returns them, in fragments that service/store/postgres/composition.py composes.

-- name: gate_object
SELECT g.name, g.version, g.policy, rfc3339(g.updated_at) AS updated_at FROM gates g

-- name: one_gate
SELECT row_to_json(item)::text
FROM (
    {gate_object}
    WHERE g.org_id = :org_id AND g.name = :name AND g.deleted_at IS NULL
) item

-- name: page_of_gates  (`next` is the last name of a page with more gates after it)
SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE row_no <= :page::int), '') || ']' AS data,
       CASE WHEN count(*) > :page::int THEN max(name) FILTER (WHERE row_no <= :page::int) END AS next
FROM (
    SELECT row_to_json(page)::text AS item, name, row_number() OVER (ORDER BY name) AS row_no
    FROM (
        {gate_object}
        WHERE g.org_id = :org_id AND g.name > :after::text AND g.deleted_at IS NULL
        ORDER BY g.name LIMIT :page::int + 1
    ) page
) numbered
