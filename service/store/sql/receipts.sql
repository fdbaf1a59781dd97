-- name: claim  (sorted, so that two batches never wait for each other in a circle)
-- Returns what this transaction may store: events never seen, and those that were rejected before.
INSERT INTO receipts AS known (org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, problems)
SELECT org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, problems::jsonb
FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::int[], $9::text[])
    AS new (org_id, receipt_id, source, event_id, body_sha256, status, run_id, results, problems)
ORDER BY org_id, source, event_id
ON CONFLICT (org_id, source, event_id) DO UPDATE
    SET body_sha256 = excluded.body_sha256, status = excluded.status, run_id = excluded.run_id,
        results = excluded.results, problems = excluded.problems, received_at = now()
    WHERE known.status = 'rejected'
RETURNING known.org_id, known.source, known.event_id

-- name: find_bodies  (what was stored under these event ids)
SELECT known.org_id, known.source, known.event_id, known.body_sha256
FROM unnest($1::int[], $2::text[], $3::text[]) AS wanted (org_id, source, event_id)
JOIN receipts known USING (org_id, source, event_id)

-- name: reject
UPDATE receipts SET status = 'rejected', results = 0, problems = $4
WHERE org_id = $1 AND source = $2 AND event_id = $3
