-- $1 org_id
-- $2 run_key
-- $3 after_case
-- $4 after_key
-- $5 receipt_id
-- $6 page
-- $7 link_base

-- One row per file, with the position of the last examined artifact. Without a file, one row with only this position.
WITH examined AS MATERIALIZED (
    SELECT * FROM artifacts
    WHERE org_id = $1 AND run_key = $2 AND (case_key, artifact_key) > ($3::bigint, $4::bigint)
    ORDER BY case_key, artifact_key LIMIT 5000
), listed AS MATERIALIZED (
    SELECT * FROM examined WHERE receipt_id = $5::text ORDER BY case_key, artifact_key LIMIT $6::int + 1
)
SELECT files.case_key, files.artifact_key, files.item, reached.case_key AS end_case, reached.artifact_key AS end_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT case_key, artifact_key FROM examined ORDER BY case_key, artifact_key OFFSET 4999 LIMIT 1
) reached ON true
LEFT JOIN LATERAL (
    SELECT a.case_key, a.artifact_key, row_to_json(listed_artifact)::text AS item
    FROM listed a CROSS JOIN LATERAL (
        SELECT
            artifact_id(a.run_key, a.case_key, a.artifact_key) AS id, a.kind, a.name, a.content_type, a.size,
            encode(a.sha256, 'hex') AS sha256, rfc3339(a.created_at) AS created_at,
            CASE WHEN a.path IS NOT NULL
                 THEN $7::text || '/v1/artifacts/' || artifact_id(a.run_key, a.case_key, a.artifact_key) END AS url,
            rfc3339(a.expires_at) AS expires_at, a.uri,
            CASE WHEN a.case_key <> 0 THEN case_public_id(a.case_key) END AS "case", a.receipt_id
    ) listed_artifact
) files ON true
ORDER BY files.case_key, files.artifact_key;
