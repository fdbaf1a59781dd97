-- $1 org_id
-- $2 after
-- $3 only
-- $4 page

WITH page AS MATERIALIZED (
    SELECT p.project_id, p.default_branch, rfc3339(newest.completed_at) AS last_run_at, rfc3339(p.created_at) AS created_at
    FROM projects p
    LEFT JOIN LATERAL (
        SELECT completed_at FROM runs r WHERE r.org_id = $1 AND r.project_id = p.project_id
        ORDER BY r.run_key DESC LIMIT 1
    ) newest ON true
    WHERE p.org_id = $1 AND p.project_id > $2::text AND ($3::text IS NULL OR p.project_id = $3)
    ORDER BY p.project_id LIMIT $4::int + 1
), numbered AS (
    SELECT row_to_json(page)::text AS item, project_id, row_number() OVER (ORDER BY project_id) AS row_no FROM page
)
SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE row_no <= $4::int), '') || ']' AS data,
       CASE WHEN count(*) > $4::int THEN max(project_id) FILTER (WHERE row_no <= $4::int) END AS next
FROM numbered;
