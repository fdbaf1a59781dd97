-- name: queue  (a rejected report can be queued again; no row if the report was accepted before)
INSERT INTO receipts AS known (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, upload, pipeline,
                               part, shard, variant, trace_context, due_at, publisher_id, job)
VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13, now(), $14, $15)
ON CONFLICT (org_id, source, event_id) DO UPDATE
    SET status = 'queued', body_sha256 = excluded.body_sha256, run_id = excluded.run_id,
        project_id = excluded.project_id, upload = excluded.upload, pipeline = excluded.pipeline, part = excluded.part, shard = excluded.shard, variant = excluded.variant,
        trace_context = excluded.trace_context, results = 0, problems = '[]', received_at = now(), attempt_count = 0,
        due_at = now(), publisher_id = excluded.publisher_id, job = excluded.job
    WHERE known.status = 'rejected'
RETURNING receipt_id

-- name: lock_of_run  (those of the reports that belong to the run)
SELECT receipt_id, status, upload, received_at FROM receipts
WHERE org_id = $1 AND run_id = $2 AND receipt_id = ANY ($3::text[]) AND upload IS NOT NULL
ORDER BY receipt_id FOR UPDATE

-- name: queue_again  (of a report that was processed; the time of its receipt, which can be that of its results, stays)
UPDATE receipts
SET status = 'queued', upload = $3, trace_context = $4, results = 0, replaced = 0, replaced_failing = 0, combined = 0,
    problems = '[]', attempt_count = 0, due_at = now(), claim = NULL, lease_until = NULL
WHERE org_id = $1 AND receipt_id = $2

-- name: find_receipt
SELECT receipt_id FROM receipts WHERE org_id = $1 AND source = $2 AND event_id = $3

-- name: lock_claims  (without the lock, two workers could both select the same report, and one would get none)
-- If the queue was short at the last ANALYZE, the planner would read and sort all of its rows.
SELECT pg_advisory_xact_lock(hashtext('reports')), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: claim  (of all organizations except $4: the one with the fewest reports in processing first, then the oldest report)
-- Takes over a report whose lease has expired, unless its worker still locks the row while it stores the results. Reads
-- only the oldest due report of each organization with open reports (a loose index scan): a long queue costs nothing. A
-- report of an untrusted run, which anybody can upload, waits while another one of its organization is due or abandoned, and
-- isn't claimed for the organizations $5, or at all unless $6, until its promotion names it; a queue of only such reports, whose
-- number per day is limited, is read completely.
WITH RECURSIVE open_organizations AS (
    (SELECT org_id FROM receipts WHERE status IN ('queued', 'processing') ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.org_id FROM receipts next
            WHERE next.status IN ('queued', 'processing') AND next.org_id > previous.org_id ORDER BY next.org_id LIMIT 1)
    FROM open_organizations previous WHERE previous.org_id IS NOT NULL
), abandoned AS (
    SELECT org_id, receipt_id,
           starts_with(run_id, 'untrusted:') IS TRUE AND (upload ? 'is_promoted') IS NOT TRUE AS is_untrusted FROM receipts
    WHERE status = 'processing' AND lease_until < now() AND attempt_count < $3
    FOR UPDATE SKIP LOCKED
), due AS (
    SELECT oldest.org_id, oldest.receipt_id, oldest.is_untrusted
    FROM open_organizations org CROSS JOIN LATERAL (
        (
            SELECT org_id, receipt_id, false AS is_untrusted FROM receipts
            WHERE org_id = org.org_id AND status IN ('queued', 'processing') AND status = 'queued' AND due_at <= now()
                  AND attempt_count < $3 AND (starts_with(run_id, 'untrusted:') IS NOT TRUE OR upload ? 'is_promoted')
            ORDER BY receipt_id LIMIT 1
        )
        UNION ALL
        (
            SELECT org_id, receipt_id, true FROM receipts
            WHERE org_id = org.org_id AND status IN ('queued', 'processing') AND status = 'queued' AND due_at <= now()
                  AND attempt_count < $3
            ORDER BY receipt_id LIMIT 1
        )
        ORDER BY is_untrusted LIMIT 1
    ) oldest
    UNION ALL
    SELECT org_id, receipt_id, is_untrusted FROM abandoned
), working AS (
    SELECT org_id, count(*) AS count FROM receipts WHERE status = 'processing' AND lease_until >= now() GROUP BY org_id
)
UPDATE receipts SET status = 'processing', claim = $1, lease_until = now() + $2, attempt_count = attempt_count + 1
WHERE (org_id, receipt_id) = (
    SELECT due.org_id, due.receipt_id FROM due LEFT JOIN working ON working.org_id = due.org_id
    WHERE due.org_id <> ALL ($4::int[]) AND (NOT due.is_untrusted OR $6 AND due.org_id <> ALL ($5::int[])
          AND NOT EXISTS (SELECT 1 FROM due trusted WHERE trusted.org_id = due.org_id AND NOT trusted.is_untrusted))
    ORDER BY coalesce(working.count, 0), due.receipt_id
    LIMIT 1
)
RETURNING org_id, receipt_id, source, event_id, body_sha256, run_id, upload, attempt_count, received_at, trace_context

-- name: renew_lease  (no row if the claim is lost)
UPDATE receipts SET lease_until = now() + $4
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'
RETURNING 1

-- name: lock_claim  (until the transaction ends; no row if the claim is lost)
SELECT 1 FROM receipts WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing' FOR UPDATE

-- name: set_context  (before the transaction that stores the results, so that the receipt of a rejected report has it too)
UPDATE receipts SET pipeline = $4, part = $5, shard = $6, variant = $7::text::jsonb
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'

-- name: finish
UPDATE receipts SET status = $4, results = $5, problems = $6, run_id = coalesce(run_id, $7),
                    project_id = coalesce(project_id, $8), replaced = $9, replaced_failing = $10, combined = $11, claim = NULL, lease_until = NULL, due_at = NULL
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'
RETURNING 1

-- name: retry
UPDATE receipts SET status = 'queued', claim = NULL, lease_until = NULL, due_at = now() + $4, problems = $5
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'

-- name: release  (the attempt doesn't count)
UPDATE receipts SET status = 'queued', claim = NULL, lease_until = NULL, due_at = now() + $4, attempt_count = attempt_count - 1
WHERE org_id = $1 AND receipt_id = $2 AND claim = $3 AND status = 'processing'

-- name: find_unowned  (of several organizations: the files that belong to no queued report, with the run of their receipt)
SELECT file.org_id, receipt.run_id, file.path, receipt.can_be_promoted
FROM unnest($1::int[], $2::text[], $3::text[]) AS file (org_id, folder, path)
LEFT JOIN LATERAL (
    SELECT status, run_id, status <> 'rejected' AS can_be_promoted FROM receipts
    WHERE org_id = file.org_id AND upload IS NOT NULL
          AND split_part(upload -> 'reports' -> 0 ->> 'path', '/', 3) = file.folder AND upload -> 'is_reference' = 'false'
    UNION ALL  -- the output of results, and the files that reports contain, are in the folder of the receipt
    SELECT status, run_id, false FROM receipts
    WHERE org_id = file.org_id AND receipt_id = file.folder AND file.path LIKE ANY (ARRAY['%/output-%', '%/embedded-%'])
    LIMIT 1
) receipt ON true
WHERE receipt.status IS NULL OR receipt.status NOT IN ('queued', 'processing')

-- name: find_of_runs  (the files that are artifacts of their run, or belong to a report that the promotion of the run can name)
SELECT file.path
FROM unnest($2::text[], $3::text[], $4::bool[]) AS file (run_id, path, can_be_promoted)
JOIN runs ON runs.org_id = $1 AND runs.run_id = file.run_id
LEFT JOIN LATERAL (
    SELECT true AS is_found FROM artifacts
    WHERE artifacts.org_id = $1 AND artifacts.run_key = runs.run_key AND artifacts.path = file.path LIMIT 1
) artifact ON true
WHERE artifact.is_found OR NOT runs.trusted AND file.can_be_promoted

-- name: find_abandoned  (of all organizations: no attempt is left, and the lease of the last one has expired)
SELECT org_id, receipt_id, claim, upload FROM receipts
WHERE status = 'processing' AND lease_until < now() AND attempt_count >= $1
FOR UPDATE SKIP LOCKED
