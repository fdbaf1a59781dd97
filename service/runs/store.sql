-- name: insert_new  (sorted by ID, to prevent deadlocks; without a conflict target, because key and ID are both unique)
INSERT INTO runs
SELECT new.*
FROM jsonb_populate_recordset(
    jsonb_populate_record(NULL::runs, jsonb_build_object('created_at', now(), 'pinned', false)),
    $1::text::jsonb) new
ORDER BY org_id, run_id
ON CONFLICT DO NOTHING
RETURNING org_id, run_id

-- name: find_run_id
SELECT run_id FROM runs WHERE org_id = $1 AND run_key = $2

-- name: find_origin  (by ID or key, optionally of a project)
SELECT run_id, pipeline, branch FROM runs
WHERE org_id = $1 AND (run_id = $2 OR run_key = $3) AND ($4::text IS NULL OR project_id = $4)

-- name: is_untrusted_of_project  (no row if the run doesn't exist)
SELECT NOT coalesce(trusted, true) AND project_id = $3 FROM runs WHERE org_id = $1 AND run_id = $2

-- name: lock_untrusted  (its promotion waits for the end of the transaction; no row if it's trusted)
SELECT 1 FROM runs WHERE org_id = $1 AND run_key = $2 AND NOT trusted FOR SHARE

-- name: set_pinned  (an untrusted run can't be pinned, because its hidden cases expire)
UPDATE runs SET pinned = $4 AND trusted IS NOT FALSE
WHERE org_id = $1 AND run_id = $2 AND ($3::text IS NULL OR project_id = $3) RETURNING pinned = $4

-- name: update  (all columns that a merge can change; versions of fields of a later version of the service stay)
UPDATE runs SET
    {each stated: % = new.%},
    failures_missing = new.failures_missing, shard_versions = new.shard_versions, part_spans = new.part_spans,
    field_versions = runs.field_versions || new.field_versions, status = new.status, stated_status = new.stated_status,
    status_event_s = new.status_event_s, passed = new.passed, failed = new.failed, error = new.error,
    skipped = new.skipped, canceled = new.canceled, flaky = new.flaky, complete = new.complete,
    closed = new.closed, sent_at_once = new.sent_at_once, has_been_complete = new.has_been_complete,
    expected_results = new.expected_results, expected_shards = new.expected_shards, shards = new.shards,
    started_at = new.started_at, last_completed_at = new.last_completed_at, duration_ms = new.duration_ms,
    revision = new.revision, awaited_receipts = new.awaited_receipts
FROM jsonb_populate_record(NULL::runs, $3::text::jsonb) new
WHERE runs.org_id = $1 AND runs.run_key = $2

-- name: close  (the API closes a run, whose other columns it can't change)
UPDATE runs SET complete = true, closed = true, has_been_complete = true, revision = $3, status = $4::text::"char"
WHERE org_id = $1 AND run_key = $2

-- name: insert_parts  (sorted; no row changes if the part is stored already)
INSERT INTO run_parts AS known (org_id, run_key, number, name, variant, shard, attempt, has_results)
SELECT org_id, run_key, number, name, variant::jsonb, shard, attempt, has_results
FROM unnest($1::int[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::int[], $7::bigint[], $8::bool[])
    AS new (org_id, run_key, number, name, variant, shard, attempt, has_results)
ORDER BY org_id, run_key, number
ON CONFLICT (org_id, run_key, number) DO UPDATE SET has_results = true
    WHERE excluded.has_results AND NOT known.has_results
