-- name: insert_stored  (the file replaces a reference or an older file of the same name)
INSERT INTO artifacts AS known (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path,
                                byte_offset)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO UPDATE
    SET content_type = coalesce(excluded.content_type, known.content_type), size = excluded.size,
        sha256 = excluded.sha256, path = excluded.path, byte_offset = excluded.byte_offset,
        created_at = excluded.created_at

-- name: find_references  (of the results of these cases in a run, to files that weren't uploaded)
SELECT case_key, artifact_key, kind, name, content_type, uri FROM artifacts
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[]) AND path IS NULL AND uri IS NOT NULL

-- name: find_path  (no row if another artifact has the same file)
SELECT path FROM artifacts a WHERE org_id = $1 AND run_key = $2 AND case_key = $3 AND artifact_key = $4
    AND NOT EXISTS (
        SELECT 1 FROM artifacts other WHERE other.org_id = $1 AND other.run_key = $2 AND other.path = a.path
            AND (other.case_key, other.artifact_key) <> ($3, $4))
FOR UPDATE

-- name: find_one
SELECT a.name, a.content_type, a.size, a.sha256, a.path, a.byte_offset FROM artifacts a
WHERE a.org_id = $1 AND a.run_key = $2 AND a.case_key = $3 AND a.artifact_key = $4
  AND ($5::text IS NULL OR EXISTS (
      SELECT 1 FROM runs WHERE runs.org_id = $1 AND runs.run_key = $2 AND runs.project_id = $5))
