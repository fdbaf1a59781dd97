-- Erasure of an author: where rows of an organization contain the name, in steps of at most $3 or $4 rows.

-- name: find_in_receipts  (the next uploads, and whether they state the author)
SELECT receipt_id, coalesce(upload -> 'run' ->> 'author' = $2, false) AS is_found
FROM receipts WHERE org_id = $1 AND receipt_id > $3 ORDER BY receipt_id LIMIT $4

-- name: erase_in_receipts  (a worker that has read the name loses its claim, and another attempt reads the upload again)
UPDATE receipts
SET upload = upload #- '{run,author}',
    status = CASE WHEN status = 'processing' THEN 'queued' ELSE status END,
    due_at = CASE WHEN status = 'processing' THEN now() ELSE due_at END,
    attempt_count = CASE WHEN status = 'processing' THEN attempt_count - 1 ELSE attempt_count END,
    claim = NULL, lease_until = NULL
WHERE org_id = $1 AND receipt_id = ANY ($2::text[])

-- name: erase_in_runs  (an event from before the erasure doesn't restore the name; sorted by ID, like ingest locks runs)
UPDATE runs
SET author = NULL,
    field_versions = field_versions || jsonb_build_object('author', extract(epoch FROM now())::bigint)
FROM (
    SELECT run_key FROM runs WHERE org_id = $1 AND author = $2 ORDER BY run_id LIMIT $3 FOR UPDATE
) found
WHERE runs.org_id = $1 AND runs.run_key = found.run_key
RETURNING runs.project_id, runs.run_id

-- name: find_in_events  (the next events, and the data of those that state the author)
SELECT event_id, CASE WHEN data ->> 'author' = $2 THEN data::text END AS data
FROM events WHERE org_id = $1 AND event_id > $3 ORDER BY event_id LIMIT $4

-- name: replace_events
UPDATE events SET data = erased.data::json
FROM unnest($2::text[], $3::text[]) AS erased (event_id, data)
WHERE events.org_id = $1 AND events.event_id = erased.event_id

-- name: delete_responses  (stored for repeated requests)
DELETE FROM idempotency_keys
WHERE org_id = $1 AND position(convert_to('"author":' || to_json($2::text)::text, 'UTF8') IN body) > 0
