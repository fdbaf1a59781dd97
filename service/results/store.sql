-- name: rank  (incoming results that are new, replace the result of their part, or must be combined with other parts)
-- Uses the order of precedence() in results/model.py. The transaction has locked the run, so its results can't change.
-- Each row also has the stored result, as far as it's in `results`.
SELECT new.case_key, new.shard AS new_shard, stored.shard, stored.status::text AS status, stored.duration_ms,
       stored.started_offset_ms, stored.event_time_offset_s, stored.attempts AS attempt_count, stored.flaky,
       stored.shard <> new.shard OR of_shards.case_key IS NOT NULL AS is_combined,
       of_shards.case_key IS NOT NULL AS is_of_several, failure.has_details
FROM unnest($3::bigint[], $4::int[], $5::int[], $6::text[], $7::bool[], $8::int[], $9::int[], $10::text[], $11::int[],
            $12::text[])
    AS new (case_key, shard, event_time_offset_s, status, flaky, duration_ms, attempts, message, started_offset_ms, file)
LEFT JOIN LATERAL (
    SELECT r.case_key, r.shard, r.event_time_offset_s, r.status, r.flaky, r.duration_ms, r.attempts, r.started_offset_ms
    FROM results r
    WHERE r.org_id = $1 AND r.run_key = $2 AND r.case_key = new.case_key
    LIMIT 1
) stored ON true
LEFT JOIN LATERAL (
    SELECT d.message, d.file, true AS has_details
    FROM result_details d
    WHERE d.org_id = $1 AND d.run_key = $2 AND d.case_key = new.case_key AND d.is_last_attempt
    LIMIT 1
) failure ON true
LEFT JOIN LATERAL (  -- examined once per statement, not once per row, if no case of the run has results of several parts
    SELECT s.case_key
    FROM shard_results s
    WHERE (SELECT EXISTS (SELECT 1 FROM shard_results WHERE org_id = $1 AND run_key = $2))
      AND s.org_id = $1 AND s.run_key = $2 AND s.case_key = new.case_key
    LIMIT 1
) of_shards ON true
WHERE stored.case_key IS NULL OR stored.shard <> new.shard OR of_shards.case_key IS NOT NULL
   OR (new.event_time_offset_s, severity(new.status::"char"), new.flaky, new.duration_ms, new.attempts,
       new.message COLLATE "C", new.started_offset_ms, new.file COLLATE "C")
      > (stored.event_time_offset_s, severity(stored.status), stored.flaky, stored.duration_ms, stored.attempts::int,
         coalesce(failure.message, '') COLLATE "C", stored.started_offset_ms, coalesce(failure.file, '') COLLATE "C")

-- name: delete_replaced  (returns the counts to subtract from those of the run)
WITH deleted AS (
    DELETE FROM results WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[]) RETURNING status, flaky
)
SELECT status::text AS status, count(*)::int AS results, (count(*) FILTER (WHERE flaky))::int AS flaky
FROM deleted GROUP BY status

-- name: delete_replaced_details
DELETE FROM result_details WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])

-- name: delete_replaced_references  (and outputs; keeps uploaded files, because they don't belong to the event)
-- Results of the cases in $4 were corrected: the files that their reports name belong to them. Returns the paths of these files.
WITH deleted AS (
    DELETE FROM artifacts
    WHERE org_id = $1 AND run_key = $2 AND case_key = ANY ($3::bigint[])
          AND (path IS NULL OR byte_offset IS NOT NULL OR receipt_id IS NOT NULL AND case_key = ANY ($4::bigint[]))
    RETURNING CASE WHEN byte_offset IS NULL THEN path END AS path
)
SELECT DISTINCT path FROM deleted WHERE path IS NOT NULL

-- name: insert_references  (keeps an uploaded file of the same name)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, uri, path,
                       byte_offset, receipt_id)
SELECT * FROM unnest($1::int[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[],
                     $9::bytea[], $10::text[], $11::text[], $12::bigint[], $13::text[])
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO NOTHING

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
