-- Results: what ingest writes, and what it reads to merge an event into a stored run. queries.sql has the statements of lists.

-- name: rank(org_id, run_key, case_keys, shards, event_time_offsets_s, statuses, flaky, durations_ms, attempts, messages,
--     started_offsets_ms, files)
--     (incoming results that are new, replace the result of their part, or must be combined with other parts)
-- Uses the order of precedence() in results/model.py. The transaction has locked the run, so its results can't change.
-- Each row also has the stored result, as far as it's in `results`.
SELECT new.case_key, new.shard AS new_shard, stored.status::text AS status,
       {each results.VALUE_COLUMNS: stored.%},
       stored.attempts AS attempt_count, stored.shard <> new.shard OR of_shards.case_key IS NOT NULL AS is_combined,
       of_shards.case_key IS NOT NULL AS is_of_several, failure.has_details
FROM unnest(:case_keys::bigint[], :shards::int[], :event_time_offsets_s::int[], :statuses::text[], :flaky::bool[],
            :durations_ms::int[], :attempts::int[], :messages::text[], :started_offsets_ms::int[],
            :files::text[])
    AS new (case_key, shard, event_time_offset_s, status, flaky, duration_ms, attempts, message, started_offset_ms, file)
LEFT JOIN LATERAL (
    SELECT r.case_key, r.status, {each results.VALUE_COLUMNS: r.%}
    FROM results r
    WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = new.case_key
    LIMIT 1
) stored ON true
LEFT JOIN LATERAL (
    SELECT d.message, d.file, true AS has_details
    FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = new.case_key AND d.is_last_attempt
    LIMIT 1
) failure ON true
LEFT JOIN LATERAL (  -- examined once per statement, not once per row, if no case of the run has results of several parts
    SELECT s.case_key
    FROM shard_results s
    WHERE (SELECT EXISTS (SELECT 1 FROM shard_results WHERE org_id = :org_id AND run_key = :run_key))
      AND s.org_id = :org_id AND s.run_key = :run_key AND s.case_key = new.case_key
    LIMIT 1
) of_shards ON true
WHERE stored.case_key IS NULL OR stored.shard <> new.shard OR of_shards.case_key IS NOT NULL
   OR (new.event_time_offset_s, severity(new.status::"char"), new.flaky, new.duration_ms, new.attempts,
       new.message COLLATE "C", new.started_offset_ms, new.file COLLATE "C")
      > (stored.event_time_offset_s, severity(stored.status), stored.flaky, stored.duration_ms, stored.attempts::int,
         coalesce(failure.message, '') COLLATE "C", stored.started_offset_ms, coalesce(failure.file, '') COLLATE "C")

-- name: delete_replaced(org_id, run_key, case_keys)  (returns the counts to subtract from those of the run)
WITH deleted AS (
    DELETE FROM results WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])
    RETURNING status, flaky
)
SELECT status::text AS status, count(*)::int AS results, (count(*) FILTER (WHERE flaky))::int AS flaky
FROM deleted GROUP BY status

-- name: delete_replaced_details(org_id, run_key, case_keys)
DELETE FROM result_details WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])

-- name: delete_replaced_references(org_id, run_key, case_keys, corrected)
--     (and outputs; keeps uploaded files, because they don't belong to the event)
-- Results of the cases in :corrected were corrected: the files that their reports name belong to them. Returns the paths of
-- these files.
WITH deleted AS (
    DELETE FROM artifacts
    WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])
          AND (path IS NULL OR byte_offset IS NOT NULL OR receipt_id IS NOT NULL AND case_key = ANY (:corrected::bigint[]))
    RETURNING CASE WHEN byte_offset IS NULL THEN path END AS path
)
SELECT DISTINCT path FROM deleted WHERE path IS NOT NULL

-- name: insert_references(org_ids, run_keys, case_keys, artifact_keys, kinds, names, content_types, sizes, sha256s, uris,
--     paths, byte_offsets, receipt_ids)  (keeps an uploaded file of the same name)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, uri, path,
                       byte_offset, receipt_id)
SELECT * FROM unnest(:org_ids::int[], :run_keys::uuid[], :case_keys::bigint[], :artifact_keys::bigint[], :kinds::text[],
                     :names::text[], :content_types::text[], :sizes::bigint[],
                     :sha256s::bytea[], :uris::text[], :paths::text[], :byte_offsets::bigint[], :receipt_ids::text[])
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO NOTHING

-- name: find(org_id, run_key, case_keys)
SELECT case_key, shard, event_time_offset_s, result FROM shard_results
WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])

-- name: find_attempts(org_id, run_key, case_keys)
SELECT case_key, status::text AS status, duration_ms, started_offset_ms, type, message, details, logs_ref, line, properties,
       fingerprint, file
FROM result_details
WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])
ORDER BY case_key, attempt

-- name: find_references(org_id, run_key, case_keys)  (and outputs; uploaded files don't belong to an event)
SELECT case_key, kind, name, content_type, size, encode(sha256, 'hex') AS sha256, uri, path, byte_offset, receipt_id
FROM artifacts
WHERE org_id = :org_id AND run_key = :run_key AND case_key = ANY (:case_keys::bigint[])
      AND (path IS NULL OR byte_offset IS NOT NULL)
ORDER BY case_key, artifact_key

-- name: replace(org_id, run_key, case_keys, shards, event_time_offsets_s, results)
UPDATE shard_results known SET event_time_offset_s = new.event_time_offset_s, result = new.result::jsonb
FROM unnest(:case_keys::bigint[], :shards::int[], :event_time_offsets_s::int[], :results::text[])
    AS new (case_key, shard, event_time_offset_s, result)
WHERE known.org_id = :org_id AND known.run_key = :run_key AND known.case_key = new.case_key AND known.shard = new.shard
