-- name: find
SELECT case_key, shard, event_time_offset_s, result FROM shard_results
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])

-- name: find_deciding  (the fields that a document in shard_results contains)
SELECT case_key, shard, event_time_offset_s, status::text AS status, duration_ms, started_offset_ms,
       attempts AS attempt_count, flaky
FROM results
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])

-- name: find_attempts
SELECT case_key, status::text AS status, duration_ms, started_offset_ms, type, message, details, logs_ref, line, properties,
       fingerprint
FROM result_details
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])
ORDER BY case_key, attempt

-- name: find_references  (and outputs; uploaded files don't belong to an event)
SELECT case_key, kind, name, content_type, size, encode(sha256, 'hex') AS sha256, uri, path, byte_offset FROM artifacts
WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[]) AND (path IS NULL OR byte_offset IS NOT NULL)
ORDER BY case_key, artifact_key

-- name: write  (leaves equal rows unchanged)
INSERT INTO shard_results AS known (org_id, run_key, case_key, shard, event_time_offset_s, result)
SELECT $1::int, $2::uuid, case_key, shard, event_time_offset_s, result::jsonb
FROM unnest($3::bigint[], $4::int[], $5::int[], $6::text[]) AS new (case_key, shard, event_time_offset_s, result)
ORDER BY case_key, shard
ON CONFLICT (org_id, run_key, case_key, shard) DO UPDATE
    SET event_time_offset_s = excluded.event_time_offset_s, result = excluded.result
    WHERE (known.event_time_offset_s, known.result) <> (excluded.event_time_offset_s, excluded.result)
