-- The artifacts of a result or of a run, as fragments (see results.sql).

-- name: artifact_fields  (the public artifact object; `url` is set if the service stores the file)
artifact_id(a.run_key, a.case_key, a.artifact_key) AS id, a.kind, a.name, a.content_type, a.size,
encode(a.sha256, 'hex') AS sha256, rfc3339(a.created_at) AS created_at,
CASE WHEN a.path IS NOT NULL
     THEN :link_base::text || '/v1/artifacts/' || artifact_id(a.run_key, a.case_key, a.artifact_key) END AS url,
rfc3339(a.expires_at) AS expires_at, a.uri,
CASE WHEN a.case_key <> 0 THEN case_public_id(a.case_key) END AS "case", a.receipt_id

-- name: one_artifact
SELECT row_to_json(item)::text FROM (
    SELECT
        {artifact_fields}
    FROM artifacts a
    WHERE a.org_id = :org_id AND a.run_key = :run_key AND a.case_key = :case_key AND a.artifact_key = :artifact_key
) item

-- name: page_of_artifacts  (those of a result by key, then the exports of its run; all of the run itself if case_key is 0)
-- The object with all files that a report contains isn't listed: only its parts are files.
WITH listed AS MATERIALIZED (
    SELECT * FROM artifacts
    WHERE org_id = :org_id AND run_key = :run_key AND case_key IN (:case_key, 0)
      AND (case_key = :case_key OR kind = 'export') AND kind <> 'embedded'
      AND (case_key = 0, artifact_key) > (:after_run_level::bool, :after_key::bigint)
    ORDER BY case_key = 0, artifact_key LIMIT :page::int + 1
), numbered AS MATERIALIZED (
    SELECT *, row_number() OVER () AS row_no, count(*) OVER () AS row_count FROM listed
), sized AS MATERIALIZED (
    SELECT run_level, artifact_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < {page_bytes} AS fits
    FROM (
        SELECT a.case_key = 0 AS run_level, a.artifact_key, a.row_no, row_to_json(listed_artifact)::text AS item
        FROM numbered a CROSS JOIN LATERAL (
            SELECT
                {artifact_fields}
        ) listed_artifact
        WHERE a.row_no <= :page::int
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_level, page_end.run_level) AS run_level,
       coalesce(full_page.artifact_key, page_end.artifact_key) AS artifact_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT case_key = 0 AS run_level, artifact_key FROM numbered WHERE row_no = :page::int AND row_count > :page::int
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_level, artifact_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits)
    ORDER BY row_no DESC LIMIT 1
) full_page ON true

-- name: page_of_report_files  (files that a report names, of the results of a run and of the run itself, by key)
-- One row per file, with the position of the last examined artifact. Without a file, one row with only this position.
WITH examined AS MATERIALIZED (
    SELECT * FROM artifacts
    WHERE org_id = :org_id AND run_key = :run_key AND (case_key, artifact_key) > (:after_case::bigint, :after_key::bigint)
    ORDER BY case_key, artifact_key LIMIT 5000
), listed AS MATERIALIZED (
    SELECT * FROM examined WHERE receipt_id = :receipt_id::text ORDER BY case_key, artifact_key LIMIT :page::int + 1
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
            {artifact_fields}
    ) listed_artifact
) files ON true
ORDER BY files.case_key, files.artifact_key

-- name: owner_run  (of an uploaded file; a run whose results have expired has none)
SELECT r.run_key, r.project_id FROM runs r
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)
  AND NOT r.results_expired

-- name: cases_by_name  (of the results of a run, with their variants)
SELECT c.case_key, c.variant FROM cases c
WHERE c.org_id = :org_id AND c.project_id = :project_id AND c.suite_hash = hashtextextended(:suite::text, 0)
  AND c.suite = :suite AND c.name = :name AND c.variant @> :variant::jsonb
  AND EXISTS (
      SELECT 1 FROM results r WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = c.case_key)
ORDER BY c.case_key LIMIT 100

-- name: has_result  (a result that hasn't expired; upkeep deletes expired rows later)
SELECT 1 FROM results r JOIN runs run ON run.org_id = :org_id AND run.run_key = r.run_key
WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = :case_key AND NOT run.results_expired
  AND (:project_id::text IS NULL OR run.project_id = :project_id)

-- name: key_of_run_of_artifacts
SELECT r.run_key FROM runs r
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)
