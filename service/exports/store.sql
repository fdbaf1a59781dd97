-- name: quote  (COPY accepts no parameters)
SELECT array_agg(quote_nullable(value) ORDER BY position)
FROM unnest($1::text[]) WITH ORDINALITY AS given (value, position)

-- name: find_position  (the position after the last numbered event, or the number of the last deleted one)
SELECT coalesce(
    (SELECT event_id || '_' || number FROM events WHERE org_id = $1 AND number IS NOT NULL ORDER BY number DESC LIMIT 1),
    last_pruned_event_number::text
) AS position, last_pruned_event_number AS deleted_to
FROM organizations WHERE org_id = $1

-- name: find_cases  (all cases with the producer's ID)
SELECT case_key FROM cases WHERE org_id = $1 AND case_id = $2 AND ($3::text IS NULL OR project_id = $3)

-- name: insert
INSERT INTO exports (org_id, export_id, request, project_id, run_id, trace_context) VALUES ($1, $2, $3, $4, $5, $6)

-- name: lock_claims  (without the lock, two workers could both claim the last free slot of an organization)
-- If the queue was short at the last ANALYZE, the planner would read and sort all of its rows.
SELECT pg_advisory_xact_lock(hashtext('exports')), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: claim  (of all organizations: first the organization with the fewest running jobs, then the oldest job)
-- With $5, takes over a job whose lease has expired. $3 is the limit per organization, $4 the limit of attempts. Reads
-- only the oldest due job of each organization with open jobs (a loose index scan), so that a long queue costs nothing.
WITH RECURSIVE open_organizations AS (
    (SELECT org_id FROM exports WHERE status IN ('queued', 'running') ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.org_id FROM exports next
            WHERE next.status IN ('queued', 'running') AND next.org_id > previous.org_id ORDER BY next.org_id LIMIT 1)
    FROM open_organizations previous WHERE previous.org_id IS NOT NULL
), due AS (
    SELECT oldest.org_id, oldest.export_id
    FROM open_organizations org CROSS JOIN LATERAL (
        SELECT org_id, export_id FROM exports
        WHERE org_id = org.org_id AND status IN ('queued', 'running') AND status = 'queued' AND due_at <= now()
              AND attempt_count < $4
        ORDER BY export_id LIMIT 1
    ) oldest
    UNION ALL
    SELECT org_id, export_id FROM exports
    WHERE status = 'running' AND lease_until < now() AND attempt_count < $4 AND $5
), running AS (
    SELECT org_id, count(*) AS count FROM exports WHERE status = 'running' AND lease_until >= now() GROUP BY org_id
)
UPDATE exports SET status = 'running', claim = $1, lease_until = now() + $2, attempt_count = attempt_count + 1,
                   started_at = now(), progress = NULL
WHERE (org_id, export_id) = (
    SELECT due.org_id, due.export_id FROM due LEFT JOIN running ON running.org_id = due.org_id
    WHERE coalesce(running.count, 0) < $3
    ORDER BY coalesce(running.count, 0), due.export_id
    LIMIT 1
)
RETURNING org_id, export_id, request, attempt_count, created_at, trace_context

-- name: renew_lease  (no row if the claim is lost or the job was canceled)
UPDATE exports SET lease_until = now() + $4, progress = $5::real
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'
RETURNING 1

-- name: succeed
UPDATE exports SET status = 'succeeded', claim = NULL, lease_until = NULL, progress = 1, error = NULL, rows = $4,
                   size = $5, sha256 = $6, path = $7, position = $8, finished_at = now(), expires_at = now() + $9
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'
RETURNING expires_at

-- name: retry
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, progress = NULL, due_at = now() + $4, error = $5
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'

-- name: release  (the attempt doesn't count)
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, progress = NULL, attempt_count = attempt_count - 1,
                   due_at = now() + $4
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'

-- name: release_unconfirmed  (of any organization: the worker doesn't know which job it has claimed, if any)
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, attempt_count = attempt_count - 1
WHERE claim = $1 AND status = 'running'

-- name: fail
UPDATE exports SET status = 'failed', claim = NULL, lease_until = NULL, error = $4, finished_at = now()
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'
RETURNING project_id, run_id

-- name: find_abandoned  (of all organizations: the worker of the last attempt crashed)
SELECT org_id, export_id, claim FROM exports WHERE status = 'running' AND lease_until < now() AND attempt_count >= $1

-- name: cancel
UPDATE exports SET status = 'canceled', claim = NULL, lease_until = NULL, finished_at = now()
WHERE org_id = $1 AND export_id = $2 AND status IN ('queued', 'running') AND ($3::text IS NULL OR project_id = $3)
RETURNING 1

-- name: find_file
SELECT status, path, size, sha256, request, run_id, error, created_at FROM exports
WHERE org_id = $1 AND export_id = $2 AND ($3::text IS NULL OR project_id = $3)

-- name: find_finished  (of the given jobs of several organizations; includes jobs that were deleted)
SELECT requested.org_id, requested.export_id FROM unnest($1::int[], $2::text[]) AS requested (org_id, export_id)
LEFT JOIN exports e ON e.org_id = requested.org_id AND e.export_id = requested.export_id
WHERE e.status IS NULL OR e.status NOT IN ('queued', 'running')

-- name: delete
DELETE FROM exports WHERE org_id = $1 AND export_id = $2

-- name: find_orphaned_files  (of all organizations: files that belong to no job)
SELECT path FROM unnest($1::text[]) AS stored (path)
EXCEPT SELECT path FROM exports WHERE path = ANY ($1)

-- name: find_expired  (of all organizations)
SELECT org_id, export_id, path FROM exports WHERE path IS NOT NULL AND expires_at < now() ORDER BY expires_at LIMIT 100

-- name: expire
UPDATE exports SET status = 'expired', path = NULL WHERE org_id = $1 AND export_id = $2

-- name: insert_artifact  (belongs to the run of the filter, so each result of the run lists it; none if the run is unknown
-- or isn't in the project of the filter)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path, expires_at)
SELECT org_id, run_key, 0, $3, 'export', $4, $5, $6, $7, $8, $9
FROM runs WHERE org_id = $1 AND run_id = $2 AND NOT results_expired AND ($10::text IS NULL OR project_id = $10)
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO UPDATE
    SET size = excluded.size, sha256 = excluded.sha256, path = excluded.path, expires_at = excluded.expires_at

-- name: delete_artifact
DELETE FROM artifacts WHERE org_id = $1 AND path = $2 AND case_key = 0
    AND run_key = (SELECT run_key FROM runs WHERE org_id = $1 AND run_id = (
        SELECT run_id FROM exports WHERE org_id = $1 AND export_id = $3))
