-- $1 page
-- $2 link_base
-- $3 org_id
-- $4 before
-- $5 project_id

SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= $1::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            SELECT e.export_id AS id, e.status, e.request->>'format' AS format, e.request->>'compression' AS compression,
            coalesce(e.request->>'content', 'results') AS content, e.request->'columns' AS columns, e.request->'raw' AS raw,
            e.request->'filter' AS filter, e.request->>'updated_since' AS updated_since, e.position, e.rows, e.size,
            encode(e.sha256, 'hex') AS sha256, round(e.progress::numeric, 3) AS progress, e.error,
            rfc3339(e.created_at) AS created_at, rfc3339(e.started_at) AS started_at, rfc3339(e.finished_at) AS finished_at,
            rfc3339(e.expires_at) AS expires_at,
            CASE WHEN e.status = 'succeeded' THEN $2::text || '/v1/results/export/' || e.export_id || '/file' END AS file_url FROM exports e
            WHERE e.org_id = $3 AND e.export_id < $4::text
              AND ($5::text IS NULL OR e.project_id = $5)
            ORDER BY e.export_id DESC LIMIT $1::int + 1
        ) listed
    ) numbered
) sized;
