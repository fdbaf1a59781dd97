-- name: queue(org_id, receipt_id, source, event_id, body_sha256, run_id, project_id, upload, pipeline, part, shard,
--     variant, trace_context, publisher_id, job)
--     (a rejected report can be queued again; no row if the report was accepted before)
INSERT INTO receipts AS known (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, upload, pipeline,
                               part, shard, variant, trace_context, due_at, publisher_id, job)
VALUES (:org_id, :receipt_id, :source, :event_id, :body_sha256, 'queued', :run_id, :project_id, :upload, :pipeline, :part,
        :shard, :variant::text::jsonb, :trace_context, now(), :publisher_id, :job)
ON CONFLICT (org_id, source, event_id) DO UPDATE
    SET status = 'queued', body_sha256 = excluded.body_sha256, run_id = excluded.run_id,
        project_id = excluded.project_id, upload = excluded.upload, pipeline = excluded.pipeline, part = excluded.part,
        shard = excluded.shard, variant = excluded.variant,
        trace_context = excluded.trace_context, results = 0, problems = '[]', received_at = now(), attempt_count = 0,
        due_at = now(), publisher_id = excluded.publisher_id, job = excluded.job
    WHERE known.status = 'rejected'
RETURNING receipt_id

-- name: lock_of_run(org_id, run_id, receipt_ids)  (those of the reports that belong to the run)
SELECT receipt_id, status, upload, received_at FROM receipts
WHERE org_id = :org_id AND run_id = :run_id AND receipt_id = ANY (:receipt_ids::text[]) AND upload IS NOT NULL
ORDER BY receipt_id FOR UPDATE

-- name: queue_again(org_id, receipt_id, upload, trace_context)
--     (of a report that was processed; the time of its receipt, which can be that of its results, stays)
UPDATE receipts
SET status = 'queued', upload = :upload, trace_context = :trace_context, results = 0, replaced = 0, replaced_failing = 0,
    combined = 0,
    problems = '[]', attempt_count = 0, due_at = now(), claim = NULL, lease_until = NULL
WHERE org_id = :org_id AND receipt_id = :receipt_id

-- name: find_receipt(org_id, source, event_id)
SELECT receipt_id FROM receipts WHERE org_id = :org_id AND source = :source AND event_id = :event_id

-- name: lock_leases()  (without the lock, two workers could both select the same report, and one would get none)
-- If the queue was short at the last ANALYZE, the planner would read and sort all of its rows.
SELECT pg_advisory_xact_lock(hashtext('reports')), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: lease(token, duration, max_attempts, busy, without_untrusted, accepts_untrusted)
--     (of all organizations except :busy: the one with the fewest reports in processing first, then the oldest report)
-- Takes over a report whose lease has expired, unless its worker still locks the row while it stores the results. Reads
-- only the oldest due report of each organization with open reports (a loose index scan): a long queue costs nothing. A
-- report of an untrusted run, which anybody can upload, waits while another one of its organization is due or abandoned.
-- It isn't leased for the organizations in :without_untrusted, or at all unless :accepts_untrusted, until its promotion
-- names it. A queue of only such reports, whose number per day is limited, is read completely.
WITH RECURSIVE open_organizations AS (
    (SELECT org_id FROM receipts WHERE status IN ('queued', 'processing') ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.org_id FROM receipts next
            WHERE next.status IN ('queued', 'processing') AND next.org_id > previous.org_id ORDER BY next.org_id LIMIT 1)
    FROM open_organizations previous WHERE previous.org_id IS NOT NULL
), abandoned AS (
    SELECT org_id, receipt_id,
           starts_with(run_id, 'untrusted:') IS TRUE AND (upload ? 'is_promoted') IS NOT TRUE AS is_untrusted FROM receipts
    WHERE status = 'processing' AND lease_until < now() AND attempt_count < :max_attempts
    FOR UPDATE SKIP LOCKED
), due AS (
    SELECT oldest.org_id, oldest.receipt_id, oldest.is_untrusted
    FROM open_organizations org CROSS JOIN LATERAL (
        (
            SELECT org_id, receipt_id, false AS is_untrusted FROM receipts
            WHERE org_id = org.org_id AND status IN ('queued', 'processing') AND status = 'queued' AND due_at <= now()
                  AND attempt_count < :max_attempts
                  AND (starts_with(run_id, 'untrusted:') IS NOT TRUE OR upload ? 'is_promoted')
            ORDER BY receipt_id LIMIT 1
        )
        UNION ALL
        (
            SELECT org_id, receipt_id, true FROM receipts
            WHERE org_id = org.org_id AND status IN ('queued', 'processing') AND status = 'queued' AND due_at <= now()
                  AND attempt_count < :max_attempts
            ORDER BY receipt_id LIMIT 1
        )
        ORDER BY is_untrusted LIMIT 1
    ) oldest
    UNION ALL
    SELECT org_id, receipt_id, is_untrusted FROM abandoned
), working AS (
    SELECT org_id, count(*) AS count FROM receipts WHERE status = 'processing' AND lease_until >= now() GROUP BY org_id
)
UPDATE receipts SET status = 'processing', claim = :token, lease_until = now() + :duration, attempt_count = attempt_count + 1
WHERE (org_id, receipt_id) = (
    SELECT due.org_id, due.receipt_id FROM due LEFT JOIN working ON working.org_id = due.org_id
    WHERE due.org_id <> ALL (:busy::int[])
          AND (NOT due.is_untrusted OR :accepts_untrusted AND due.org_id <> ALL (:without_untrusted::int[])
          AND NOT EXISTS (SELECT 1 FROM due trusted WHERE trusted.org_id = due.org_id AND NOT trusted.is_untrusted))
    ORDER BY coalesce(working.count, 0), due.receipt_id
    LIMIT 1
)
RETURNING org_id, receipt_id, source, event_id, body_sha256, run_id, upload, attempt_count, received_at, trace_context

-- name: has_lease  (the row whose lease has the token, which the column claim stores)
org_id = :org_id AND receipt_id = :receipt_id AND claim = :token AND status = 'processing'

-- name: renew_lease(org_id, receipt_id, token, duration)  (no row if the lease is lost)
UPDATE receipts SET lease_until = now() + :duration
WHERE {has_lease}
RETURNING 1

-- name: lock_lease(org_id, receipt_id, token)  (until the transaction ends; no row if the lease is lost)
SELECT 1 FROM receipts WHERE {has_lease} FOR UPDATE

-- name: set_context(org_id, receipt_id, token, pipeline, part, shard, variant)
--     (before the transaction that stores the results, so that the receipt of a rejected report has it too)
UPDATE receipts SET pipeline = :pipeline, part = :part, shard = :shard, variant = :variant::text::jsonb
WHERE {has_lease}

-- name: finish(org_id, receipt_id, token, status, results, problems, run_id, project_id, replaced, replaced_failing,
--     combined)
UPDATE receipts SET status = :status, results = :results, problems = :problems, run_id = coalesce(run_id, :run_id),
                    project_id = coalesce(project_id, :project_id), replaced = :replaced,
                    replaced_failing = :replaced_failing, combined = :combined, claim = NULL, lease_until = NULL, due_at = NULL
WHERE {has_lease}
RETURNING 1

-- name: retry(org_id, receipt_id, token, delay, problems)
UPDATE receipts SET status = 'queued', claim = NULL, lease_until = NULL, due_at = now() + :delay, problems = :problems
WHERE {has_lease}

-- name: release(org_id, receipt_id, token, delay)  (the attempt doesn't count)
UPDATE receipts SET status = 'queued', claim = NULL, lease_until = NULL, due_at = now() + :delay,
                    attempt_count = attempt_count - 1
WHERE {has_lease}

-- name: find_unowned(org_ids, folders, paths)
--     (of several organizations: the files that belong to no queued report, with the run of their receipt)
SELECT file.org_id, receipt.run_id, file.path, receipt.can_be_promoted
FROM unnest(:org_ids::int[], :folders::text[], :paths::text[]) AS file (org_id, folder, path)
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

-- name: find_of_runs(org_id, run_ids, paths, can_be_promoted)
--     (the files that are artifacts of their run, or belong to a report that the promotion of the run can name)
SELECT file.path
FROM unnest(:run_ids::text[], :paths::text[], :can_be_promoted::bool[]) AS file (run_id, path, can_be_promoted)
JOIN runs ON runs.org_id = :org_id AND runs.run_id = file.run_id
LEFT JOIN LATERAL (
    SELECT true AS is_found FROM artifacts
    WHERE artifacts.org_id = :org_id AND artifacts.run_key = runs.run_key AND artifacts.path = file.path LIMIT 1
) artifact ON true
WHERE artifact.is_found OR NOT runs.trusted AND file.can_be_promoted

-- name: find_abandoned(max_attempts)  (of all organizations: no attempt is left, and the lease of the last one has expired)
SELECT org_id, receipt_id, claim, upload FROM receipts
WHERE status = 'processing' AND lease_until < now() AND attempt_count >= :max_attempts
FOR UPDATE SKIP LOCKED
