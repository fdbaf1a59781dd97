-- name: quote  (for statements that take no parameters)
SELECT array_agg(quote_nullable(value) ORDER BY place) FROM unnest($1::text[]) WITH ORDINALITY given (value, place)

-- name: find_cases  (every case with the producer's id)
SELECT case_key FROM cases WHERE org_id = $1 AND case_id = $2 AND ($3::text IS NULL OR project_id = $3)

-- name: insert
INSERT INTO exports (org_id, export_id, request, project_id, run_id) VALUES ($1, $2, $3, $4, $5)

-- name: lock_claims  (or two workers could both take an organization's last place)
SELECT pg_advisory_xact_lock(hashtext('exports'))

-- name: claim  (of all organizations: whoever has the fewest running comes first, then the oldest job)
-- A job whose lease has run out is taken over; $3 at once per organization, $4 attempts in all.
UPDATE exports SET status = 'running', claim = $1, lease_until = now() + $2, attempt_count = attempt_count + 1,
                   started_at = now(), progress = NULL
WHERE (org_id, export_id) = (
    SELECT waiting.org_id, waiting.export_id
    FROM exports waiting
    LEFT JOIN (
        SELECT org_id, count(*) AS count FROM exports WHERE status = 'running' AND lease_until >= now() GROUP BY org_id
    ) running ON running.org_id = waiting.org_id
    WHERE (waiting.status = 'queued' AND waiting.due_at <= now()
           OR waiting.status = 'running' AND waiting.lease_until < now())
      AND waiting.attempt_count < $4 AND coalesce(running.count, 0) < $3
    ORDER BY coalesce(running.count, 0), waiting.export_id
    LIMIT 1
)
RETURNING org_id, export_id, request, attempt_count, created_at

-- name: beat  (nothing where the claim was lost or the job canceled)
UPDATE exports SET lease_until = now() + $4, progress = $5
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'
RETURNING 1

-- name: succeed
UPDATE exports SET status = 'succeeded', claim = NULL, lease_until = NULL, progress = 1, error = NULL, rows = $4,
                   size = $5, sha256 = $6, path = $7, finished_at = now(), expires_at = now() + $8
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'
RETURNING expires_at

-- name: try_again
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, progress = NULL, error = $4, due_at = now() + $5
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'

-- name: give_back  (as if it had not been claimed)
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, progress = NULL, attempt_count = attempt_count - 1
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'

-- name: fail
UPDATE exports SET status = 'failed', claim = NULL, lease_until = NULL, error = $4, finished_at = now()
WHERE org_id = $1 AND export_id = $2 AND claim = $3 AND status = 'running'
RETURNING 1

-- name: find_abandoned  (of all organizations: as many workers died over these as attempts are allowed)
SELECT org_id, export_id, claim, request FROM exports WHERE status = 'running' AND lease_until < now() AND attempt_count >= $1

-- name: cancel
UPDATE exports SET status = 'canceled', claim = NULL, lease_until = NULL, finished_at = now()
WHERE org_id = $1 AND export_id = $2 AND status IN ('queued', 'running') AND ($3::text IS NULL OR project_id = $3)
RETURNING 1

-- name: find_file
SELECT status, path, size, sha256, request, run_id, error, created_at FROM exports
WHERE org_id = $1 AND export_id = $2 AND ($3::text IS NULL OR project_id = $3)

-- name: find_over  (which of these wait for nothing any more; what is gone is over too)
SELECT wanted.export_id FROM unnest($2::text[]) AS wanted (export_id)
LEFT JOIN exports e ON e.org_id = $1 AND e.export_id = wanted.export_id
WHERE e.status IS NULL OR e.status NOT IN ('queued', 'running')

-- name: delete
DELETE FROM exports WHERE org_id = $1 AND export_id = $2

-- name: find_unowned  (of all organizations: which of these files belong to no job)
SELECT path FROM unnest($1::text[]) AS kept (path)
EXCEPT SELECT path FROM exports WHERE path = ANY ($1)

-- name: find_expired  (of all organizations)
SELECT org_id, export_id, path FROM exports WHERE path IS NOT NULL AND expires_at < now() ORDER BY expires_at LIMIT 100

-- name: expire
UPDATE exports SET status = 'expired', path = NULL WHERE org_id = $1 AND export_id = $2

-- name: insert_artifact  (under the run that was asked for, so that each of its results lists the file, if it has any)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path, expires_at)
SELECT org_id, run_key, 0, $3, 'export', $4, $5, $6, $7, $8, $9
FROM runs WHERE org_id = $1 AND run_id = $2 AND NOT results_expired
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO UPDATE
    SET size = excluded.size, sha256 = excluded.sha256, path = excluded.path, expires_at = excluded.expires_at

-- name: delete_artifact
DELETE FROM artifacts WHERE org_id = $1 AND path = $2 AND case_key = 0
    AND run_key = (SELECT run_key FROM runs JOIN exports USING (org_id, run_id) WHERE org_id = $1 AND export_id = $3)
