-- name: insert(org_ids, event_ids, types, project_ids, run_ids, data, trace_contexts, branches, owners, states)
--     (also inserts a delivery for each subscribed webhook, or a notice if its format is one of messages; the owners of
--     each event are a JSON array or null)
WITH new AS (
    INSERT INTO events (org_id, event_id, type, project_id, run_id, data, trace_context, branch, owners, state)
    SELECT org_id, event_id, type, project_id, run_id, data::json, trace_context, branch,
           CASE WHEN owners IS NOT NULL THEN ARRAY (SELECT jsonb_array_elements_text(owners::jsonb)) END, state
    FROM unnest(:org_ids::int[], :event_ids::text[], :types::text[], :project_ids::text[], :run_ids::text[], :data::text[],
                :trace_contexts::jsonb[], :branches::text[], :owners::text[], :states::text[])
        AS new (org_id, event_id, type, project_id, run_id, data, trace_context, branch, owners, state)
    RETURNING org_id, event_id, type, project_id, branch, owners, state,
              {notice_subject} AS subject
), noticed AS (
    INSERT INTO notices (org_id, webhook_id, event_id, subject)
    SELECT new.org_id, hook.webhook_id, new.event_id, new.subject
    FROM new JOIN webhooks hook ON hook.org_id = new.org_id
    WHERE hook.enabled AND hook.format <> 'standard'
          AND is_subscribed(hook, new.type, new.project_id, new.branch, new.owners, new.state)
    FOR KEY SHARE OF hook
)
INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)
SELECT new.org_id, hook.webhook_id, delivery_id(hook.webhook_id, new.event_id), new.event_id
FROM new JOIN webhooks hook ON hook.org_id = new.org_id
WHERE hook.enabled AND hook.format = 'standard'
      AND is_subscribed(hook, new.type, new.project_id, new.branch, new.owners, new.state)
FOR KEY SHARE OF hook -- waits for a concurrent deletion of a webhook, which then gets no delivery

-- name: notice_subject  (of which a webhook gets at most one message per day: a case or a failure group; null: none)
CASE WHEN split_part(type, '.', 1) IN ('case', 'failure_group') THEN data ->> 'id' END

-- name: insert_without_deliveries(org_id, event_id, type, project_id, run_id, data, trace_context)
INSERT INTO events (org_id, event_id, type, project_id, run_id, data, trace_context)
VALUES (:org_id, :event_id, :type, :project_id, :run_id, :data, :trace_context)

-- name: insert_internal(org_ids, event_ids, types, project_ids, run_ids)
--     (without deliveries, because no reader receives these events)
INSERT INTO events (org_id, event_id, type, project_id, run_id, data)
SELECT org_id, event_id, type, project_id, run_id, '{}'
FROM unnest(:org_ids::int[], :event_ids::text[], :types::text[], :project_ids::text[], :run_ids::text[])
    AS new (org_id, event_id, type, project_id, run_id)

-- name: number(created_since, limit)
--     (for the relay, of all organizations; at most :limit events created since :created_since, in the order of their
--     creation)
UPDATE events SET number = ordered.number
FROM (
    SELECT org_id, event_id, nextval('event_numbers') AS number
    FROM (
        SELECT org_id, event_id FROM events WHERE number IS NULL AND created_at >= :created_since
        ORDER BY created_at, event_id LIMIT :limit
    ) unnumbered
) ordered
WHERE events.org_id = ordered.org_id AND events.event_id = ordered.event_id

-- name: lock_numbers()  (so that only one transaction numbers events; released when the transaction ends)
-- Also returns the transactions that can have inserted events before now. A read-only transaction has no ID.
SELECT now() AS at, pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest_open,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next
WHERE pg_try_advisory_xact_lock(hashtext('event_numbers'))

-- name: prune(before_id, limit)
--     (of all organizations, at most :limit events, and their notices; stores the last deleted number, because readers can't continue
--     after an older one)
WITH pruned AS (
    DELETE FROM events
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM events WHERE org_id = org.org_id AND event_id < :before_id AND number IS NOT NULL
            ORDER BY event_id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) old
        LIMIT :limit
    ))
    RETURNING org_id, event_id, number
), pruned_notices AS (
    DELETE FROM notices USING pruned WHERE notices.org_id = pruned.org_id AND notices.event_id = pruned.event_id
), reached AS (
    SELECT org_id, max(number) AS number FROM pruned GROUP BY org_id ORDER BY org_id
), stored AS (
    UPDATE organizations SET last_pruned_event_number = greatest(last_pruned_event_number, reached.number)
    FROM reached WHERE organizations.org_id = reached.org_id
)
SELECT count(*) FROM pruned

-- name: prune_deliveries(before_id, limit)  (of all organizations, at most :limit deliveries of events before :before_id)
WITH pruned AS (
    DELETE FROM deliveries
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM webhooks hook CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM deliveries
            WHERE org_id = hook.org_id AND webhook_id = hook.webhook_id AND delivery_id < :before_id
            ORDER BY delivery_id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) old
        LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM pruned

-- name: page_after(org_id, position, types, run_id, project_id, limit, examined, page_bytes, hidden_types)
--     (in ascending order, without the types :hidden_types; examines at most :examined events and ends after :page_bytes
--     bytes, so a page can be short or empty)
WITH examined AS (
    SELECT number, event_id, type, project_id, run_id, created_at, data FROM events
    WHERE org_id = :org_id AND number > :position ORDER BY number LIMIT :examined
), matching AS MATERIALIZED (
    SELECT * FROM examined
    WHERE {event_filters}
    ORDER BY number LIMIT :limit
), page AS (
    SELECT * FROM (
        SELECT *, sum(octet_length(data::text)) OVER (ORDER BY number) - octet_length(data::text) < :page_bytes AS fits
        FROM matching
    ) sized
    WHERE fits
), reached AS (
    SELECT max(number) AS number, count(*) AS count FROM examined
)
{page_of_events}
ORDER BY page.number

-- name: page_before(org_id, position, types, run_id, project_id, limit, examined, page_bytes, hidden_types)
--     (in descending order, without the types :hidden_types; examines at most :examined events and ends after :page_bytes
--     bytes, so a page can be short or empty)
WITH examined AS (
    SELECT number, event_id, type, project_id, run_id, created_at, data FROM events
    WHERE org_id = :org_id AND number < :position ORDER BY number DESC LIMIT :examined
), matching AS MATERIALIZED (
    SELECT * FROM examined
    WHERE {event_filters}
    ORDER BY number DESC LIMIT :limit
), page AS (
    SELECT * FROM (
        SELECT *, sum(octet_length(data::text)) OVER (ORDER BY number DESC) - octet_length(data::text) < :page_bytes AS fits
        FROM matching
    ) sized
    WHERE fits
), reached AS (
    SELECT min(number) AS number, count(*) AS count FROM examined
)
{page_of_events}
ORDER BY page.number DESC

-- name: event_filters
type <> ALL (:hidden_types) AND (:types::text[] = '{}' OR type = ANY (:types))
AND (:run_id::text IS NULL OR run_id = :run_id) AND {is_of_project}

-- name: page_of_events
--     (the events, and the numbers of examined and of matching ones; one row without an event if none matches)
SELECT page.number, page.event_id, page.type, page.created_at, page.data, reached.number AS reached,
       reached.count AS examined, (SELECT count(*) FROM matching) AS matching
FROM reached LEFT JOIN page ON true

-- name: find_number(org_id, event_id)  (null if the event isn't numbered yet)
SELECT number FROM events WHERE org_id = :org_id AND event_id = :event_id

-- name: find_bounds(org_id)  (the last event number, and the last one that was deleted)
SELECT coalesce((SELECT max(number) FROM events WHERE org_id = :org_id AND number IS NOT NULL),
                last_pruned_event_number) AS last,
       last_pruned_event_number AS pruned_to
FROM organizations WHERE org_id = :org_id

-- name: find_followed_with_events(org_ids, positions)  (of the given organizations: those with events after their position)
SELECT followed.org_id FROM unnest(:org_ids::int[], :positions::bigint[]) AS followed (org_id, position)
WHERE EXISTS (SELECT 1 FROM events WHERE events.org_id = followed.org_id AND events.number > followed.position)

-- name: read_after(org_id, position, limit)
SELECT number, event_id, type, project_id, run_id, created_at, data FROM events
WHERE org_id = :org_id AND number > :position ORDER BY number LIMIT :limit

-- name: put(queue, payload)
INSERT INTO outbox (queue, payload) VALUES (:queue, :payload)

-- name: lock()  (only one relay publishes at a time; the lock ends with the transaction)
SELECT pg_try_advisory_xact_lock(hashtext('outbox'))

-- name: find_due(limit, queues)
SELECT outbox_id, queue, payload::text AS payload, attempt_count, payload -> 'trace_context' AS trace_context FROM outbox
WHERE due_at <= now() AND (:queues::text[] IS NULL OR queue = ANY (:queues))
ORDER BY due_at, outbox_id LIMIT :limit

-- name: delete(outbox_ids)
DELETE FROM outbox WHERE outbox_id = ANY (:outbox_ids::bigint[])

-- name: postpone(outbox_id, delay, failed)  (with :failed failed attempts more: 0 or 1)
UPDATE outbox SET attempt_count = attempt_count + :failed, due_at = now() + :delay WHERE outbox_id = :outbox_id

-- name: move_to_dead_letters(outbox_id, reason, message)
WITH message AS (DELETE FROM outbox WHERE outbox_id = :outbox_id RETURNING queue, payload)
INSERT INTO dead_letters (queue, payload, reason, message) SELECT queue, payload, :reason, :message FROM message

-- name: find_dead_letters(limit)
SELECT dead_letter_id, queue, payload::text AS payload, reason, message, created_at FROM dead_letters
ORDER BY dead_letter_id LIMIT :limit

-- name: replay(dead_letter_id)
WITH dead_letter AS (DELETE FROM dead_letters WHERE dead_letter_id = :dead_letter_id RETURNING queue, payload)
INSERT INTO outbox (queue, payload) SELECT queue, payload FROM dead_letter

-- name: discard(dead_letter_id)
DELETE FROM dead_letters WHERE dead_letter_id = :dead_letter_id
