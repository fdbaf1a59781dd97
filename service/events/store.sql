-- name: insert  (also inserts a delivery for each subscribed webhook)
WITH new AS (
    INSERT INTO events (org_id, event_id, type, project_id, run_id, data, trace_context)
    SELECT org_id, event_id, type, project_id, run_id, data::json, trace_context
    FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[])
        AS new (org_id, event_id, type, project_id, run_id, data, trace_context)
    RETURNING org_id, event_id, type, project_id
)
INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)
SELECT new.org_id, hook.webhook_id, delivery_id(hook.webhook_id, new.event_id), new.event_id
FROM new JOIN webhooks hook ON hook.org_id = new.org_id
WHERE hook.enabled AND is_subscribed(hook, new.type, new.project_id)
FOR KEY SHARE OF hook -- waits for a concurrent deletion of a webhook, which then gets no delivery

-- name: insert_without_deliveries
INSERT INTO events (org_id, event_id, type, project_id, run_id, data, trace_context)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: insert_internal  (without deliveries, because no reader receives these events)
INSERT INTO events (org_id, event_id, type, project_id, run_id, data)
SELECT org_id, event_id, type, project_id, run_id, '{}'
FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[]) AS new (org_id, event_id, type, project_id, run_id)

-- name: number  (for the relay, of all organizations; at most $2 events created since $1, in the order of their creation)
UPDATE events SET number = ordered.number
FROM (
    SELECT org_id, event_id, nextval('event_numbers') AS number
    FROM (
        SELECT org_id, event_id FROM events WHERE number IS NULL AND created_at >= $1
        ORDER BY created_at, event_id LIMIT $2
    ) unnumbered
) ordered
WHERE events.org_id = ordered.org_id AND events.event_id = ordered.event_id

-- name: lock_numbers  (so that only one transaction numbers events; released when the transaction ends)
-- Also returns the transactions that can have inserted events before now. A read-only transaction has no ID.
SELECT now() AS at, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_open,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next
WHERE pg_try_advisory_xact_lock(hashtext('event_numbers'))

-- name: prune  (of all organizations, at most $2 events; stores the last deleted number, because readers can't continue
-- after an older one)
WITH pruned AS (
    DELETE FROM events
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM events WHERE org_id = org.org_id AND event_id < $1 AND number IS NOT NULL
            ORDER BY event_id LIMIT $2 FOR UPDATE SKIP LOCKED
        ) old
        LIMIT $2
    ))
    RETURNING org_id, number
), reached AS (
    SELECT org_id, max(number) AS number FROM pruned GROUP BY org_id ORDER BY org_id
), stored AS (
    UPDATE organizations SET last_pruned_event_number = greatest(last_pruned_event_number, reached.number)
    FROM reached WHERE organizations.org_id = reached.org_id
)
SELECT count(*) FROM pruned

-- name: prune_deliveries  (of all organizations, at most $2 deliveries of events before $1)
WITH pruned AS (
    DELETE FROM deliveries
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM webhooks hook CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM deliveries
            WHERE org_id = hook.org_id AND webhook_id = hook.webhook_id AND delivery_id < $1
            ORDER BY delivery_id LIMIT $2 FOR UPDATE SKIP LOCKED
        ) old
        LIMIT $2
    ))
    RETURNING 1
)
SELECT count(*) FROM pruned

-- name: page_after  (in ascending order, without the types $9; examines at most $7 events and ends after $8 bytes, so a page can be short or empty)
WITH examined AS (
    SELECT number, event_id, type, project_id, run_id, created_at, data FROM events
    WHERE org_id = $1 AND number > $2 ORDER BY number LIMIT $7
), matching AS MATERIALIZED (
    SELECT * FROM examined
    WHERE type <> ALL ($9) AND ($3::text[] = '{}' OR type = ANY ($3)) AND ($4::text IS NULL OR run_id = $4)
          AND ($5::text IS NULL OR project_id = $5)
    ORDER BY number LIMIT $6
), page AS (
    SELECT * FROM (
        SELECT *, sum(octet_length(data::text)) OVER (ORDER BY number) - octet_length(data::text) < $8 AS fits
        FROM matching
    ) sized
    WHERE fits
), reached AS (
    SELECT max(number) AS number, count(*) AS count FROM examined
)
SELECT page.number, page.event_id, page.type, page.created_at, page.data, reached.number AS reached,
       reached.count AS examined, (SELECT count(*) FROM matching) AS matching
FROM reached LEFT JOIN page ON true
ORDER BY page.number

-- name: page_before  (in descending order, without the types $9; examines at most $7 events and ends after $8 bytes, so a page can be short or empty)
WITH examined AS (
    SELECT number, event_id, type, project_id, run_id, created_at, data FROM events
    WHERE org_id = $1 AND number < $2 ORDER BY number DESC LIMIT $7
), matching AS MATERIALIZED (
    SELECT * FROM examined
    WHERE type <> ALL ($9) AND ($3::text[] = '{}' OR type = ANY ($3)) AND ($4::text IS NULL OR run_id = $4)
          AND ($5::text IS NULL OR project_id = $5)
    ORDER BY number DESC LIMIT $6
), page AS (
    SELECT * FROM (
        SELECT *, sum(octet_length(data::text)) OVER (ORDER BY number DESC) - octet_length(data::text) < $8 AS fits
        FROM matching
    ) sized
    WHERE fits
), reached AS (
    SELECT min(number) AS number, count(*) AS count FROM examined
)
SELECT page.number, page.event_id, page.type, page.created_at, page.data, reached.number AS reached,
       reached.count AS examined, (SELECT count(*) FROM matching) AS matching
FROM reached LEFT JOIN page ON true
ORDER BY page.number DESC

-- name: find_number  (null if the event isn't numbered yet)
SELECT number FROM events WHERE org_id = $1 AND event_id = $2

-- name: find_bounds  (the last event number, and the last one that was deleted)
SELECT coalesce((SELECT max(number) FROM events WHERE org_id = $1 AND number IS NOT NULL), last_pruned_event_number) AS last,
       last_pruned_event_number AS pruned_to
FROM organizations WHERE org_id = $1

-- name: find_followed_with_events  (of the given organizations: those with events after their position)
SELECT followed.org_id FROM unnest($1::int[], $2::bigint[]) AS followed (org_id, position)
WHERE EXISTS (SELECT 1 FROM events WHERE events.org_id = followed.org_id AND events.number > followed.position)

-- name: read_after
SELECT number, event_id, type, project_id, run_id, created_at, data FROM events
WHERE org_id = $1 AND number > $2 ORDER BY number LIMIT $3

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
