-- $1 org_id
-- $2 run_key
-- $3 case_key
-- $4 after_run_level
-- $5 after_key
-- $6 page
-- $7 link_base

-- The object with all files that a report contains isn't listed: only its parts are files.
WITH listed AS MATERIALIZED (
    SELECT * FROM artifacts
    WHERE org_id = $1 AND run_key = $2 AND case_key IN ($3, 0)
      AND (case_key = $3 OR kind = 'export') AND kind <> 'embedded'
      AND (case_key = 0, artifact_key) > ($4::bool, $5::bigint)
    ORDER BY case_key = 0, artifact_key LIMIT $6::int + 1
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER () AS row_no, count(*) OVER () AS row_count FROM listed
), sized AS MATERIALIZED (
    SELECT run_level, artifact_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT a.case_key = 0 AS run_level, a.artifact_key, a.row_no, row_to_json(listed_artifact)::text AS item
        FROM numbered a CROSS JOIN LATERAL (
            SELECT
                artifact_id(a.run_key, a.case_key, a.artifact_key) AS id, a.kind, a.name, a.content_type, a.size,
                encode(a.sha256, 'hex') AS sha256, rfc3339(a.created_at) AS created_at,
                CASE WHEN a.path IS NOT NULL
                     THEN $7::text || '/v1/artifacts/' || artifact_id(a.run_key, a.case_key, a.artifact_key) END AS url,
                rfc3339(a.expires_at) AS expires_at, a.uri,
                CASE WHEN a.case_key <> 0 THEN case_public_id(a.case_key) END AS "case", a.receipt_id
        ) listed_artifact
        WHERE a.row_no <= $6::int
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_level, page_end.run_level) AS run_level,
       coalesce(full_page.artifact_key, page_end.artifact_key) AS artifact_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT case_key = 0 AS run_level, artifact_key FROM numbered WHERE row_no = $6::int AND row_count > $6::int
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_level, artifact_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits)
    ORDER BY row_no DESC LIMIT 1
) full_page ON true;
