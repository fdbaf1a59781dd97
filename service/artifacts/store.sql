-- name: insert_stored  (the file replaces a reference or an older file of the same name)
INSERT INTO artifacts AS known (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path,
                                byte_offset, receipt_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO UPDATE
    SET kind = CASE WHEN known.kind = 'other' THEN excluded.kind ELSE known.kind END,
        content_type = coalesce(excluded.content_type, known.content_type), size = excluded.size,
        sha256 = excluded.sha256, path = excluded.path, byte_offset = excluded.byte_offset,
        created_at = excluded.created_at

-- name: insert_references  (of a run itself, to files that weren't uploaded; keeps an uploaded file of the same name)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, uri, receipt_id)
VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8)
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO NOTHING

-- name: find_references  (of a report in the results of these cases of a run, to files that weren't uploaded)
SELECT case_key, artifact_key, kind, name, content_type, uri, receipt_id FROM artifacts
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[]) AND path IS NULL AND uri IS NOT NULL
  AND receipt_id = $4

-- name: find_keys  (of the files with this name that reports of a result or a run name, and $5 if a file has this key)
-- Not those of exports and of uploaded reports: a file of a client doesn't replace them.
SELECT artifact_key FROM artifacts
WHERE org_id = $1 AND run_key = $2 AND case_key = $3 AND name = $4 AND byte_offset IS NULL
      AND (receipt_id IS NOT NULL OR artifact_key = $5)
LIMIT 1000

-- name: lock_key  (until the transaction ends, although no row has the key yet)
SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'artifacts', $1::int, $2::uuid, $3::bigint, $4::bigint), 0))

-- name: lock_file  (the stored file of an artifact)
SELECT path, sha256, content_type FROM artifacts
WHERE org_id = $1 AND run_key = $2 AND case_key = $3 AND artifact_key = $4 AND path IS NOT NULL
FOR UPDATE

-- name: list_months  (that have a partition; an operator can have archived the others)
SELECT DISTINCT to_date(name.month, 'YYYY_MM') AS month
FROM pg_inherits JOIN pg_class partition ON partition.oid = inhrelid
CROSS JOIN LATERAL (SELECT substring(partition.relname FROM '^artifacts_([0-9]{4}_[0-9]{2})') AS month) name
WHERE inhparent = 'public.artifacts'::regclass AND name.month IS NOT NULL

-- name: find_unused  (of the files of a run; several artifacts can have the same file)
-- Not the uploaded files of an untrusted run, whose artifacts anybody can replace: its promotion stores the named reports with
-- their files again.
SELECT file.path FROM runs CROSS JOIN unnest($3::text[]) AS file (path)
WHERE runs.org_id = $1 AND runs.run_key = $2 AND (runs.trusted IS NOT FALSE OR NOT starts_with(file.path, 'inbox/'))
      AND NOT EXISTS (SELECT 1 FROM artifacts used WHERE used.org_id = $1 AND used.run_key = $2 AND used.path = file.path)

-- name: find_stored  (the files of runs that artifacts of these runs refer to)
SELECT DISTINCT path FROM artifacts WHERE org_id = $1 AND run_key = ANY ($2::uuid[]) AND path = ANY ($3::text[])

-- name: find_expired_runs  (an operator can have archived the artifacts of these runs)
SELECT run_key FROM runs WHERE org_id = $1 AND run_key = ANY ($2::uuid[]) AND results_expired

-- name: find_one
SELECT a.name, a.content_type, a.size, a.sha256, a.path, a.byte_offset FROM artifacts a
WHERE a.org_id = $1 AND a.run_key = $2 AND a.case_key = $3 AND a.artifact_key = $4
  AND ($5::text IS NULL OR EXISTS (
      SELECT 1 FROM runs WHERE runs.org_id = $1 AND runs.run_key = $2 AND runs.project_id = $5))

-- name: find  (the files of a key today, and the seconds until the next day in UTC)
SELECT coalesce(sum(files), 0)::int AS files, coalesce(sum(bytes), 0)::bigint AS bytes,
       ceil(extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::int AS seconds_left
FROM artifact_usage WHERE org_id = $1 AND key_id = $2 AND day = (now() AT TIME ZONE 'UTC')::date

-- name: add
INSERT INTO artifact_usage AS known (org_id, key_id, day, files, bytes)
VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date, $3, $4)
ON CONFLICT (org_id, key_id, day) DO UPDATE SET files = known.files + excluded.files, bytes = known.bytes + excluded.bytes
RETURNING files, bytes,
          ceil(extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::int AS seconds_left

-- name: delete_expired
-- At most $1 rows of all organizations, of days before yesterday in UTC.
WITH deleted AS (
    DELETE FROM artifact_usage WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM artifact_usage WHERE day < (now() AT TIME ZONE 'UTC')::date - 1 ORDER BY day LIMIT $1
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted
