-- name: artifact_item  (url is for what our own storage keeps)
artifact_id(a.run_key, a.case_key, a.artifact_key) AS id, a.kind, a.name, a.content_type, a.size,
encode(a.sha256, 'hex') AS sha256, rfc3339(a.created_at) AS created_at,
CASE WHEN a.path IS NOT NULL
     THEN :link_base::text || '/v1/artifacts/' || artifact_id(a.run_key, a.case_key, a.artifact_key) END AS url,
rfc3339(a.expires_at) AS expires_at, a.uri

-- name: one_artifact
SELECT row_to_json(item)::text FROM (
    SELECT {artifact_item} FROM artifacts a
    WHERE a.org_id = :org_id AND a.run_key = :run_key AND a.case_key = :case_key AND a.artifact_key = :artifact_key
) item

-- name: page_of_artifacts  (the result's own by key, then those of its whole run, which stand under case_key 0)
WITH listed AS MATERIALIZED (
    SELECT * FROM artifacts
    WHERE org_id = :org_id AND run_key = :run_key AND case_key IN (:case_key, 0)
      AND (case_key = 0, artifact_key) > (:after_run_level::bool, :after_key::bigint)
    ORDER BY case_key = 0, artifact_key LIMIT :page::int + 1
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER () AS nth, count(*) OVER () AS emitted FROM listed
)
SELECT '[' || coalesce((SELECT string_agg(row_to_json(item)::text, ',') FROM (
           SELECT {artifact_item}
           FROM numbered a WHERE a.nth <= :page::int ORDER BY a.nth
       ) item), '') || ']' AS data, ending.run_level, ending.artifact_key
FROM (SELECT) always
LEFT JOIN LATERAL (
    SELECT case_key = 0 AS run_level, artifact_key FROM numbered WHERE nth = :page::int AND emitted > :page::int
) ending ON true

-- name: has_result  (that has not expired, though it may still be there for a while)
SELECT 1 FROM results r JOIN runs run ON run.org_id = r.org_id AND run.run_key = r.run_key
WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = :case_key AND NOT run.results_expired
  AND (:project_id::text IS NULL OR run.project_id = :project_id)
