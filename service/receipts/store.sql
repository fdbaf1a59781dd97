-- name: claim  (sorted, to prevent deadlocks between batches)
-- Returns the events that this transaction must store: new events and events that were rejected before.
INSERT INTO receipts AS known (org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, pipeline,
                               part, shard, variant, problems)
SELECT org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, pipeline, part, shard, variant::jsonb,
       problems::jsonb
FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::int[], $9::text[],
            $10::text[], $11::smallint[], $12::text[], $13::text[])
    AS new (org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, pipeline, part, shard, variant,
            problems)
ORDER BY org_id, source, event_id
ON CONFLICT (org_id, source, event_id) DO UPDATE
    SET body_sha256 = excluded.body_sha256, status = excluded.status, run_id = excluded.run_id,
        results = excluded.results, pipeline = excluded.pipeline, part = excluded.part, shard = excluded.shard, variant = excluded.variant, problems = excluded.problems,
        received_at = now()
    WHERE known.status = 'rejected'
RETURNING known.org_id, known.source, known.event_id

-- name: set_counts  (of receipts that this transaction has claimed)
UPDATE receipts known SET replaced = new.replaced, replaced_failing = new.replaced_failing, combined = new.combined
FROM unnest($1::int[], $2::text[], $3::text[], $4::int[], $5::int[], $6::int[])
    AS new (org_id, source, event_id, replaced, replaced_failing, combined)
WHERE known.org_id = new.org_id AND known.source = new.source AND known.event_id = new.event_id

-- name: find_bodies  (of events that are stored already)
SELECT known.org_id, known.source, known.event_id, known.body_sha256
FROM unnest($1::int[], $2::text[], $3::text[]) AS requested (org_id, source, event_id)
JOIN receipts known USING (org_id, source, event_id)

-- name: reject
UPDATE receipts SET status = 'rejected', results = 0, problems = $4
WHERE org_id = $1 AND source = $2 AND event_id = $3

-- name: find_one  (only receipts of uploads have a project; the project of another receipt is that of its run)
SELECT receipt_id, status, run_id, pipeline, part, nullif(shard, 0) AS shard, variant, source, event_id, results, replaced,
       replaced_failing, combined, problems, received_at, publisher_id,
       (SELECT p.name FROM publishers p WHERE p.org_id = $1 AND p.publisher_id = r.publisher_id) AS publisher_name, job
FROM receipts r
WHERE org_id = $1 AND receipt_id = $2
  AND ($3::text IS NULL OR r.project_id = $3 OR r.project_id IS NULL AND $3 = (
      SELECT project_id FROM runs WHERE org_id = $1 AND run_id = (
          SELECT run_id FROM receipts WHERE org_id = $1 AND receipt_id = $2)))

-- name: find_finished  (of the given receipts of several organizations; includes receipts that were deleted)
SELECT requested.org_id, requested.receipt_id FROM unnest($1::int[], $2::text[]) AS requested (org_id, receipt_id)
LEFT JOIN receipts r ON r.org_id = requested.org_id AND r.receipt_id = requested.receipt_id
WHERE r.status IS NULL OR r.status NOT IN ('queued', 'processing')
