-- name: put
INSERT INTO outbox (queue, payload) VALUES ($1, $2)

-- name: lock  (only one relay publishes at a time; the lock ends with the transaction)
SELECT pg_try_advisory_xact_lock(hashtext('outbox'))

-- name: find_due
SELECT outbox_id, queue, payload::text AS payload, attempt_count, payload -> 'trace_context' AS trace_context FROM outbox
WHERE due_at <= now() AND ($2::text[] IS NULL OR queue = ANY ($2))
ORDER BY due_at, outbox_id LIMIT $1

-- name: delete
DELETE FROM outbox WHERE outbox_id = ANY ($1::bigint[])

-- name: postpone  (with $3 failed attempts more: 0 or 1)
UPDATE outbox SET attempt_count = attempt_count + $3, due_at = now() + $2 WHERE outbox_id = $1

-- name: move_to_dead_letters
WITH message AS (DELETE FROM outbox WHERE outbox_id = $1 RETURNING queue, payload)
INSERT INTO dead_letters (queue, payload, reason, message) SELECT queue, payload, $2, $3 FROM message

-- name: find_dead_letters
SELECT dead_letter_id, queue, payload::text AS payload, reason, message, created_at FROM dead_letters
ORDER BY dead_letter_id LIMIT $1

-- name: replay
WITH dead_letter AS (DELETE FROM dead_letters WHERE dead_letter_id = $1 RETURNING queue, payload)
INSERT INTO outbox (queue, payload) SELECT queue, payload FROM dead_letter

-- name: discard
DELETE FROM dead_letters WHERE dead_letter_id = $1
