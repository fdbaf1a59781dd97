-- $1 link_base
-- $2 org_id
-- $3 run_key
-- $4 case_key
-- $5 artifact_key

SELECT row_to_json(item)::text FROM (
    SELECT
        artifact_id(a.run_key, a.case_key, a.artifact_key) AS id, a.kind, a.name, a.content_type, a.size,
        encode(a.sha256, 'hex') AS sha256, rfc3339(a.created_at) AS created_at,
        CASE WHEN a.path IS NOT NULL
             THEN $1::text || '/v1/artifacts/' || artifact_id(a.run_key, a.case_key, a.artifact_key) END AS url,
        rfc3339(a.expires_at) AS expires_at, a.uri,
        CASE WHEN a.case_key <> 0 THEN case_public_id(a.case_key) END AS "case", a.receipt_id
    FROM artifacts a
    WHERE a.org_id = $2 AND a.run_key = $3 AND a.case_key = $4 AND a.artifact_key = $5
) item;
