-- $1 link_base
-- $2 org_id
-- $3 export_id
-- $4 project_id

SELECT row_to_json(item)::text FROM (
    SELECT e.export_id AS id, e.status, e.request->>'format' AS format, e.request->>'compression' AS compression,
    coalesce(e.request->>'content', 'results') AS content, e.request->'columns' AS columns, e.request->'raw' AS raw,
    e.request->'filter' AS filter, e.request->>'updated_since' AS updated_since, e.position, e.rows, e.size,
    encode(e.sha256, 'hex') AS sha256, round(e.progress::numeric, 3) AS progress, e.error,
    rfc3339(e.created_at) AS created_at, rfc3339(e.started_at) AS started_at, rfc3339(e.finished_at) AS finished_at,
    rfc3339(e.expires_at) AS expires_at,
    CASE WHEN e.status = 'succeeded' THEN $1::text || '/v1/results/export/' || e.export_id || '/file' END AS file_url FROM exports e
    WHERE e.org_id = $2 AND e.export_id = $3
      AND ($4::text IS NULL OR e.project_id = $4)
) item;
