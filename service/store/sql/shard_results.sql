-- name: find
SELECT case_key, shard, event_time_offset_s, result FROM shard_results
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])

-- name: find_attempts
SELECT case_key, status::text AS status, duration_ms, started_offset_ms, type, message, details, logs_ref, line, properties,
       fingerprint, file
FROM result_details
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])
ORDER BY case_key, attempt

-- name: find_references  (and outputs; uploaded files don't belong to an event)
SELECT case_key, kind, name, content_type, size, encode(sha256, 'hex') AS sha256, uri, path, byte_offset, receipt_id
FROM artifacts
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[]) AND (path IS NULL OR byte_offset IS NOT NULL)
ORDER BY case_key, artifact_key

-- name: replace
UPDATE shard_results known SET event_time_offset_s = new.event_time_offset_s, result = new.result::jsonb
FROM unnest($3::bigint[], $4::int[], $5::int[], $6::text[]) AS new (case_key, shard, event_time_offset_s, result)
WHERE known.org_id = $1 AND known.run_key = $2 AND known.case_key = new.case_key AND known.shard = new.shard
