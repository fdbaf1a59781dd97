-- Receipts of events and reports, and a page of their list.

-- name: claim(org_ids, receipt_ids, sources, event_ids, body_sha256s, statuses, run_ids, results, pipelines, parts, shards,
--     variants, problems)  (sorted, to prevent deadlocks between batches)
-- Returns the events that this transaction must store: new events and events that were rejected before.
INSERT INTO receipts AS known (org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, pipeline,
                               part, shard, variant, problems)
SELECT org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, pipeline, part, shard, variant::jsonb,
       problems::jsonb
FROM unnest(:org_ids::int[], :receipt_ids::text[], :sources::text[], :event_ids::text[], :body_sha256s::bytea[],
            :statuses::text[], :run_ids::text[], :results::int[], :pipelines::text[],
            :parts::text[], :shards::smallint[], :variants::text[], :problems::text[])
    AS new (org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, pipeline, part, shard, variant,
            problems)
ORDER BY org_id, source, event_id
ON CONFLICT (org_id, source, event_id) DO UPDATE
    SET body_sha256 = excluded.body_sha256, status = excluded.status, run_id = excluded.run_id,
        results = excluded.results, pipeline = excluded.pipeline, part = excluded.part, shard = excluded.shard,
        variant = excluded.variant, problems = excluded.problems,
        received_at = now()
    WHERE known.status = 'rejected'
RETURNING known.org_id, known.source, known.event_id

-- name: set_counts(org_ids, sources, event_ids, replaced, replaced_failing, combined)
--     (of receipts that this transaction has claimed)
UPDATE receipts known SET replaced = new.replaced, replaced_failing = new.replaced_failing, combined = new.combined
FROM unnest(:org_ids::int[], :sources::text[], :event_ids::text[], :replaced::int[], :replaced_failing::int[], :combined::int[])
    AS new (org_id, source, event_id, replaced, replaced_failing, combined)
WHERE known.org_id = new.org_id AND known.source = new.source AND known.event_id = new.event_id

-- name: find_bodies(org_ids, sources, event_ids)  (of events that are stored already)
SELECT known.org_id, known.source, known.event_id, known.body_sha256
FROM unnest(:org_ids::int[], :sources::text[], :event_ids::text[]) AS requested (org_id, source, event_id)
JOIN receipts known USING (org_id, source, event_id)

-- name: reject(org_id, source, event_id, problems)
UPDATE receipts SET status = 'rejected', results = 0, problems = :problems
WHERE org_id = :org_id AND source = :source AND event_id = :event_id

-- name: find_one(org_id, receipt_id, project_id)
--     (only receipts of uploads have a project; the project of another receipt is that of its run)
SELECT receipt_id, status, run_id, pipeline, part, nullif(shard, 0) AS shard, variant, source, event_id, results, replaced,
       replaced_failing, combined, problems, received_at, publisher_id,
       (SELECT p.name FROM publishers p WHERE p.org_id = :org_id AND p.publisher_id = r.publisher_id) AS publisher_name, job
FROM receipts r
WHERE org_id = :org_id AND receipt_id = :receipt_id
  AND (:project_id::text IS NULL OR r.project_id = :project_id OR r.project_id IS NULL AND :project_id = (
      SELECT project_id FROM runs WHERE org_id = :org_id AND run_id = (
          SELECT run_id FROM receipts WHERE org_id = :org_id AND receipt_id = :receipt_id)))

-- name: find_finished(org_ids, receipt_ids)
--     (of the given receipts of several organizations; includes receipts that were deleted)
SELECT requested.org_id, requested.receipt_id
FROM unnest(:org_ids::int[], :receipt_ids::text[]) AS requested (org_id, receipt_id)
LEFT JOIN receipts r ON r.org_id = requested.org_id AND r.receipt_id = requested.receipt_id
WHERE r.status IS NULL OR r.status NOT IN ('queued', 'processing')

-- name: page_of_receipts
--     (newest first; returns one row more than fits into the page, so that the caller knows that there are more)
SELECT receipt_id, status, run_id, pipeline, part, shard, variant, source, event_id, results, replaced, replaced_failing, combined,
       CASE WHEN fits THEN problems END, received_at, publisher_id,
       (SELECT p.name FROM publishers p WHERE p.org_id = :org_id AND p.publisher_id = sized.publisher_id) AS publisher_name, job, fits
FROM (
    SELECT listed.*, row_number() OVER newest_first <= :page::int AND
           sum(octet_length(problems::text)) OVER newest_first - octet_length(problems::text) < {page_bytes} AS fits
    FROM (
        SELECT receipt_id, status, run_id, pipeline, part, nullif(shard, 0) AS shard, variant, source, event_id, results, replaced,
               replaced_failing, combined, problems, received_at, publisher_id, job
        FROM receipts r
        WHERE org_id = :org_id AND {driver} AND receipt_id < :before
          AND (:run_id::text IS NULL OR run_id = :run_id) AND (:event_id::text IS NULL OR event_id = :event_id)
          AND (:pipeline::text IS NULL OR pipeline = :pipeline)
          AND {run_is_shown}
          AND (:project_id::text IS NULL OR r.project_id = :project_id OR r.project_id IS NULL AND {run_is_of_project})
        ORDER BY receipt_id DESC LIMIT :page::int + 1
    ) listed
    WINDOW newest_first AS (ORDER BY receipt_id DESC)
) sized
ORDER BY receipt_id DESC

-- name: run_is_shown  (untrusted reports only if the filter names the event, or their run before its promotion)
-- The promotion of a run marks the reports that it names. The other ones are no longer part of the run. For example, a stranger
-- has sent one to the same run that was rejected: a gate that waits for the reports of the run doesn't find it.
(r.run_id IS NULL OR NOT starts_with(r.run_id, 'untrusted:') OR r.upload ? 'is_promoted' OR :event_id::text IS NOT NULL
 OR :run_id::text IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.org_id = :org_id AND runs.run_id = :run_id AND runs.trusted IS NOT FALSE))

-- name: receipts_of_event
event_id = :event_id

-- name: receipts_of_run
run_id = :run_id

-- name: receipts_of_pipeline
pipeline = :pipeline

-- name: receipts_of_all
true

-- name: run_is_of_project  (of the run of the receipt)
EXISTS (SELECT 1 FROM runs WHERE runs.org_id = :org_id AND runs.run_id = r.run_id AND runs.project_id = :project_id)

-- name: run_is_one_of_project  (if runs are distributed, each one can't be looked up for a receipt)
r.run_id IN (SELECT run_id FROM runs WHERE runs.org_id = :org_id AND runs.project_id = :project_id)
