-- name: queue  (a report that was rejected may be sent again; one that was taken is left alone)
INSERT INTO receipts AS known (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, upload, due_at)
VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $8, now())
ON CONFLICT (org_id, source, event_id) DO UPDATE
    SET status = 'queued', body_sha256 = excluded.body_sha256, run_id = excluded.run_id,
        project_id = excluded.project_id, upload = excluded.upload, results = 0, problems = '[]', received_at = now(), attempt_count = 0,
        due_at = now()
    WHERE known.status = 'rejected'
RETURNING receipt_id

-- name: find_receipt
SELECT receipt_id FROM receipts WHERE org_id = $1 AND source = $2 AND event_id = $3

-- name: claim  (of all organizations: whoever has the fewest in work comes first, then the oldest report)
-- A report whose lease has run out is taken over, unless its worker still holds the row: it is storing the results.
UPDATE receipts SET status = 'processing', claim = $1, lease_until = now() + $2, attempt_count = attempt_count + 1
WHERE (org_id, receipt_id) = (
    SELECT waiting.org_id, waiting.receipt_id
    FROM receipts waiting
    LEFT JOIN (
        SELECT org_id, count(*) AS count FROM receipts
        WHERE status = 'processing' AND lease_until >= now() GROUP BY org_id
    ) working ON working.org_id = waiting.org_id
    WHERE (waiting.status = 'queued' AND waiting.due_at <= now()
           OR waiting.status = 'processing' AND waiting.lease_until < now())
      AND waiting.attempt_count < $3
    ORDER BY coalesce(working.count, 0), waiting.receipt_id
    LIMIT 1
    FOR UPDATE OF waiting SKIP LOCKED
)
RETURNING org_id, receipt_id, source, event_id, body_sha256, run_id, upload, attempt_count, received_at

-- name: renew_lease  (no row if the claim is lost)
UPDATE receipts SET lease_until = now() + $4
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'
RETURNING 1

-- name: lock_claim  (until the transaction ends nobody else can take the report; nothing where somebody has)
SELECT 1 FROM receipts WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing' FOR UPDATE

-- name: finish
UPDATE receipts SET status = $4, results = $5, problems = $6, run_id = coalesce(run_id, $7),
                    project_id = coalesce(project_id, $8), claim = NULL, lease_until = NULL, due_at = NULL
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'
RETURNING 1

-- name: retry
UPDATE receipts SET status = 'queued', claim = NULL, lease_until = NULL, due_at = now() + $4
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'

-- name: release  (the attempt doesn't count)
UPDATE receipts SET status = 'queued', claim = NULL, lease_until = NULL, due_at = now() + $4, attempt_count = attempt_count - 1
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'

-- name: find_orphaned  (which of these files no report that waits will need, and no run has taken as its artifact)
SELECT kept.path
FROM unnest($1::int[], $2::text[], $3::text[]) AS kept (org_id, folder, path)
LEFT JOIN LATERAL (
    SELECT status, run_id FROM receipts
    WHERE org_id = kept.org_id AND upload IS NOT NULL
          AND split_part(upload -> 'report' ->> 'path', '/', 3) = kept.folder AND upload -> 'is_reference' = 'false'
    LIMIT 1
) receipt ON true
LEFT JOIN LATERAL (
    SELECT true AS taken FROM runs JOIN artifacts USING (org_id, run_key)
    WHERE org_id = kept.org_id AND run_id = receipt.run_id AND path = kept.path
    LIMIT 1
) artifact ON true
WHERE receipt.status IS NULL OR receipt.status NOT IN ('queued', 'processing') AND artifact.taken IS NULL

-- name: find_abandoned  (of all organizations: as many workers died over these as attempts are allowed)
SELECT org_id, receipt_id, claim, upload FROM receipts
WHERE status = 'processing' AND lease_until < now() AND attempt_count >= $1
FOR UPDATE SKIP LOCKED
