-- Artifacts of results and runs, and the files that each key uploads per day.

-- name: insert_stored(org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path, byte_offset,
--     receipt_id)  (the file replaces a reference or an older file of the same name)
INSERT INTO artifacts AS known (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path,
                                byte_offset, receipt_id)
VALUES (:org_id, :run_key, :case_key, :artifact_key, :kind, :name, :content_type, :size, :sha256, :path, :byte_offset,
        :receipt_id)
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO UPDATE
    SET kind = CASE WHEN known.kind = 'other' THEN excluded.kind ELSE known.kind END,
        content_type = coalesce(excluded.content_type, known.content_type), size = excluded.size,
        sha256 = excluded.sha256, path = excluded.path, byte_offset = excluded.byte_offset,
        created_at = excluded.created_at

-- name: insert_references(org_id, run_key, artifact_key, kind, name, content_type, uri, receipt_id)
--     (of a run itself, to files that weren't uploaded; keeps an uploaded file of the same name)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, uri, receipt_id)
VALUES (:org_id, :run_key, 0, :artifact_key, :kind, :name, :content_type, :uri, :receipt_id)
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO NOTHING

-- name: find_references(org_id, run_key, case_keys, receipt_id)
--     (of a report in the results of these cases of a run, to files that weren't uploaded)
SELECT case_key, artifact_key, kind, name, content_type, uri, receipt_id FROM artifacts
WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[]) AND path IS NULL AND uri IS NOT NULL
  AND receipt_id = :receipt_id

-- name: find_keys(org_id, run_key, case_key, name, own_key)
--     (of the files with this name that reports of a result or a run name, and of the file with :own_key)
-- Not those of exports and of uploaded reports: a file of a client doesn't replace them.
SELECT artifact_key FROM artifacts
WHERE org_id = :org_id AND run_key = :run_key AND case_key = :case_key AND name = :name AND byte_offset IS NULL
      AND (receipt_id IS NOT NULL OR artifact_key = :own_key)
LIMIT 1000

-- name: lock_key(org_id, run_key, case_key, artifact_key)  (until the transaction ends, although no row has the key yet)
SELECT pg_advisory_xact_lock(hashtextextended(
    concat_ws(' ', 'artifacts', :org_id::int, :run_key::uuid, :case_key::bigint, :artifact_key::bigint), 0))

-- name: lock_file(org_id, run_key, case_key, artifact_key)  (the stored file of an artifact)
SELECT path, sha256, content_type FROM artifacts
WHERE org_id = :org_id AND run_key = :run_key AND case_key = :case_key AND artifact_key = :artifact_key AND path IS NOT NULL
FOR UPDATE

-- name: list_months()  (that have a partition; an operator can have archived the others)
SELECT DISTINCT to_date(name.month, 'YYYY_MM') AS month
FROM pg_inherits JOIN pg_class partition ON partition.oid = inhrelid
CROSS JOIN LATERAL (SELECT substring(partition.relname FROM '^artifacts_([0-9]{4}_[0-9]{2})') AS month) name
WHERE inhparent = 'public.artifacts'::regclass AND name.month IS NOT NULL

-- name: find_unused(org_id, run_key, paths)  (of the files of a run; several artifacts can have the same file)
-- Not the uploaded files of an untrusted run, whose artifacts anybody can replace: its promotion stores the named reports with
-- their files again.
SELECT file.path FROM runs CROSS JOIN unnest(:paths::text[]) AS file (path)
WHERE runs.org_id = :org_id AND runs.run_key = :run_key AND (runs.trusted IS NOT FALSE OR NOT starts_with(file.path, 'inbox/'))
      AND NOT EXISTS (
          SELECT 1 FROM artifacts used WHERE used.org_id = :org_id AND used.run_key = :run_key AND used.path = file.path)

-- name: find_stored(org_id, run_keys, paths)  (the files of runs that artifacts of these runs refer to)
SELECT DISTINCT path FROM artifacts WHERE org_id = :org_id AND run_key = ANY (:run_keys::uuid[]) AND path = ANY (:paths::text[])

-- name: find_expired_runs(org_id, run_keys)  (an operator can have archived the artifacts of these runs)
SELECT run_key FROM runs WHERE org_id = :org_id AND run_key = ANY (:run_keys::uuid[]) AND results_expired

-- name: find_one(org_id, run_key, case_key, artifact_key, project_id)
SELECT a.name, a.content_type, a.size, a.sha256, a.path, a.byte_offset FROM artifacts a
WHERE a.org_id = :org_id AND a.run_key = :run_key AND a.case_key = :case_key AND a.artifact_key = :artifact_key
  AND (:project_id::text IS NULL OR EXISTS (
      SELECT 1 FROM runs WHERE runs.org_id = :org_id AND runs.run_key = :run_key AND runs.project_id = :project_id))

-- name: find(org_id, key_id)  (the files of a key today, and the seconds until the next day in UTC)
SELECT coalesce(sum(files), 0)::int AS files, coalesce(sum(bytes), 0)::bigint AS bytes,
       {seconds_left}
FROM artifact_usage WHERE org_id = :org_id AND key_id = :key_id AND day = (now() AT TIME ZONE 'UTC')::date

-- name: add(org_id, key_id, files, bytes)
INSERT INTO artifact_usage AS known (org_id, key_id, day, files, bytes)
VALUES (:org_id, :key_id, (now() AT TIME ZONE 'UTC')::date, :files, :bytes)
ON CONFLICT (org_id, key_id, day) DO UPDATE SET files = known.files + excluded.files, bytes = known.bytes + excluded.bytes
RETURNING files, bytes,
          {seconds_left}

-- name: seconds_left  (until the next day in UTC)
ceil(extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::int AS seconds_left

-- name: delete_expired(limit)
-- At most :limit rows of all organizations, of days before yesterday in UTC.
WITH deleted AS (
    DELETE FROM artifact_usage WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM artifact_usage WHERE day < (now() AT TIME ZONE 'UTC')::date - 1 ORDER BY day LIMIT :limit
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted

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
