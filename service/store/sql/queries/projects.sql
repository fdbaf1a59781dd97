-- Projects as the API returns them, in fragments that service/store/postgres/composition.py composes.

-- name: project_object
SELECT p.project_id, p.default_branch, rfc3339(newest.completed_at) AS last_run_at, rfc3339(p.created_at) AS created_at
FROM projects p
LEFT JOIN LATERAL (
    SELECT completed_at FROM runs r WHERE r.org_id = :org_id AND r.project_id = p.project_id
    ORDER BY r.run_key DESC LIMIT 1
) newest ON true

-- name: one_project
SELECT row_to_json(item)::text
FROM (
    {project_object}
    WHERE p.org_id = :org_id AND p.project_id = :project_id
) item

-- name: page_of_projects  (`next` is the last ID of a page with more projects after it)
WITH page AS MATERIALIZED (
    {project_object}
    WHERE p.org_id = :org_id AND p.project_id > :after::text AND (:only::text IS NULL OR p.project_id = :only)
    ORDER BY p.project_id LIMIT :page::int + 1
), numbered AS (
    SELECT row_to_json(page)::text AS item, project_id, row_number() OVER (ORDER BY project_id) AS row_no FROM page
)
SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE row_no <= :page::int), '') || ']' AS data,
       CASE WHEN count(*) > :page::int THEN max(project_id) FILTER (WHERE row_no <= :page::int) END AS next
FROM numbered
