-- Webhooks, their deliveries, and their recoveries.

-- name: insert(org_id, webhook_id, url, description, events, project_id, enabled, format, branch, owner, state, secret)
INSERT INTO webhooks (org_id, webhook_id, url, description, events, project_id, enabled, disabled_reason, format, branch, owner,
                      state, secret)
VALUES (:org_id, :webhook_id, :url, :description, :events, :project_id, :enabled,
        CASE WHEN NOT :enabled THEN 'by_request' END, :format, :branch, :owner, :state, :secret)

-- name: lock_list(org_id)  (so that only one transaction of an organization counts and inserts webhooks)
SELECT pg_advisory_xact_lock(hashtext('webhooks'), :org_id::int)

-- name: count(org_id)
SELECT count(*) FROM webhooks WHERE org_id = :org_id AND deleted_at IS NULL

-- name: lock(org_id, webhook_id, project_id)  (before a change; :project_id is the project to which the caller's key is bound)
SELECT url, description, events, project_id, enabled, format, branch, owner, state FROM webhooks
WHERE org_id = :org_id AND webhook_id = :webhook_id AND {is_of_project}
    AND deleted_at IS NULL
FOR UPDATE

-- name: update(org_id, webhook_id, url, description, events, project_id, enabled, format, branch, owner, state)
--     (a new URL, or enabling a disabled webhook, resets its failures)
UPDATE webhooks
SET url = :url, description = :description, events = :events, project_id = :project_id, enabled = :enabled, updated_at = now(),
    format = :format, branch = :branch, owner = :owner, state = :state,
    disabled_reason = CASE WHEN :enabled THEN NULL ELSE coalesce(disabled_reason, 'by_request') END,
    failures = CASE WHEN :enabled AND (NOT enabled OR url <> :url) THEN 0 ELSE failures END,
    failing_since = CASE WHEN :enabled AND (NOT enabled OR url <> :url) THEN NULL ELSE failing_since END,
    paused_until = CASE WHEN :enabled AND (NOT enabled OR url <> :url) THEN NULL ELSE paused_until END
WHERE org_id = :org_id AND webhook_id = :webhook_id

-- name: delete(org_id, webhook_id, project_id)
--     (removes the secrets immediately; the dispatcher removes the deliveries, and then the row)
UPDATE webhooks
SET deleted_at = now(), enabled = false, disabled_reason = 'by_request', secret = '', previous_secret = NULL
WHERE org_id = :org_id AND webhook_id = :webhook_id AND {is_of_project}
    AND deleted_at IS NULL
RETURNING webhook_id

-- name: lock_disabled()  (of all organizations; one disabled webhook with pending deliveries that isn't being changed)
SELECT org_id, webhook_id FROM webhooks hook
WHERE NOT enabled AND EXISTS (
    SELECT FROM deliveries
    WHERE org_id = hook.org_id AND webhook_id = hook.webhook_id AND due_at IS NOT NULL
)
LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_deleted()  (of all organizations; one deleted webhook that isn't being changed)
SELECT org_id, webhook_id FROM webhooks WHERE NOT enabled AND deleted_at IS NOT NULL LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: remove(org_id, webhook_id)  (a deleted webhook without deliveries, and its notices)
DELETE FROM webhooks WHERE org_id = :org_id AND webhook_id = :webhook_id AND deleted_at IS NOT NULL

-- name: rotate_secret(org_id, webhook_id, secret, overlap)  (the previous secret also signs for the interval :overlap)
UPDATE webhooks
SET previous_secret = secret, previous_expires_at = now() + :overlap::interval, secret = :secret, updated_at = now()
WHERE org_id = :org_id AND webhook_id = :webhook_id

-- name: find_key_ids()  (of all organizations; the encryption keys of the secrets that still sign)
SELECT DISTINCT split_part(stored.secret, ':', 2) AS key_id
FROM webhooks hook CROSS JOIN LATERAL (
    VALUES (hook.secret), (CASE WHEN hook.previous_expires_at > now() THEN hook.previous_secret END)
) stored (secret)
WHERE starts_with(stored.secret, 'fernet:')

-- name: lock_secrets(prefix, limit)
--     (of all organizations; at most :limit webhooks with a secret that doesn't start with :prefix)
SELECT org_id, webhook_id, secret, CASE WHEN previous_expires_at > now() THEN previous_secret END AS previous_secret
FROM webhooks
WHERE deleted_at IS NULL AND (NOT starts_with(secret, :prefix) OR NOT starts_with(previous_secret, :prefix))
ORDER BY org_id, webhook_id LIMIT :limit
FOR UPDATE

-- name: replace_secrets(org_id, webhook_id, secret, previous_secret)
UPDATE webhooks SET secret = :secret, previous_secret = :previous_secret WHERE org_id = :org_id AND webhook_id = :webhook_id

-- name: disable(org_id, webhook_id, reason)  (returns no row if the webhook is already disabled)
UPDATE webhooks SET enabled = false, disabled_reason = :reason, updated_at = now()
WHERE org_id = :org_id AND webhook_id = :webhook_id AND enabled
RETURNING description, project_id, failing_since

-- name: find_failing(org_ids, webhook_ids, duration)  (the endpoints of the list that have failed for longer than :duration)
SELECT hook.org_id, hook.webhook_id
FROM unnest(:org_ids::int[], :webhook_ids::text[]) AS candidate (org_id, webhook_id)
JOIN webhooks hook USING (org_id, webhook_id)
WHERE hook.enabled AND hook.failing_since < now() - :duration::interval

-- name: insert_recovery(org_id, webhook_id, recovery_id, since)
INSERT INTO recoveries (org_id, webhook_id, recovery_id, since, position)
VALUES (:org_id, :webhook_id, :recovery_id, :since,
        'evt_' || lpad(to_hex(greatest(0, (extract(epoch FROM :since::timestamptz) * 1000)::bigint)), 12, '0'))

-- name: find_recovery(org_id, webhook_id, recovery_id)
SELECT json_build_object(
           'id', recovery_id, 'webhook_id', webhook_id, 'status', status, 'since', rfc3339(since),
           'until', rfc3339(until), 'recovered', recovered, 'created_at', rfc3339(created_at),
           'finished_at', rfc3339(finished_at)
       )::text AS data
FROM recoveries
WHERE org_id = :org_id AND webhook_id = :webhook_id AND recovery_id = :recovery_id

-- name: lock_recovery()  (for the dispatcher, of all organizations; the row lock is the lease for one step)
SELECT org_id, webhook_id, recovery_id, position, until FROM recoveries
WHERE finished_at IS NULL ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: recover_step(org_id, webhook_id, position, until, limit, internal_types)
--     (opens the missed deliveries of the next events, including those while the webhook was disabled; for a format of
--     messages, the notices that are in no message, or in an exhausted one, wait for a plan again)
WITH examined AS (
    SELECT event_id, type, project_id, branch, owners, state, {notice_subject} AS subject FROM events
    WHERE org_id = :org_id AND event_id > :position AND created_at <= :until
    ORDER BY event_id LIMIT :limit
), subscribed AS (
    SELECT examined.*, hook.format, delivery_id(:webhook_id, examined.event_id) AS delivery_id
    FROM examined JOIN webhooks hook ON hook.org_id = :org_id AND hook.webhook_id = :webhook_id
    WHERE hook.deleted_at IS NULL AND examined.type <> ALL (:internal_types)
          AND is_subscribed(hook, examined.type, examined.project_id, examined.branch, examined.owners, examined.state)
), waiting AS (
    INSERT INTO notices AS existing (org_id, webhook_id, event_id, subject)
    SELECT :org_id, :webhook_id, event_id, subject FROM subscribed
    WHERE format <> 'standard' AND NOT EXISTS (
        SELECT FROM deliveries
        WHERE org_id = :org_id AND webhook_id = :webhook_id AND delivery_id = subscribed.delivery_id AND status <> 'exhausted'
    )
    ON CONFLICT (org_id, event_id, webhook_id) DO UPDATE SET due_at = now(), decided_at = NULL, message_id = NULL
        WHERE EXISTS (
            SELECT FROM deliveries
            WHERE org_id = :org_id AND webhook_id = :webhook_id AND status = 'exhausted'
                  AND delivery_id = delivery_id(existing.webhook_id, existing.message_id)
        )
    RETURNING 1
), missed AS (
    INSERT INTO deliveries AS existing (org_id, webhook_id, delivery_id, event_id)
    SELECT :org_id, :webhook_id, delivery_id, event_id FROM subscribed WHERE format = 'standard'
    ON CONFLICT (org_id, webhook_id, delivery_id) DO UPDATE
        SET status = 'pending', attempt_count = 0, due_at = now(), claim = NULL
        WHERE existing.status = 'exhausted'
    RETURNING 1
)
SELECT (SELECT count(*) FROM examined)::int AS examined, (SELECT max(event_id) FROM examined) AS last,
       ((SELECT count(*) FROM missed) + (SELECT count(*) FROM waiting))::int AS recovered

-- name: advance_recovery(org_id, webhook_id, recovery_id, position, recovered, is_finished)
--     (the transaction has locked the row)
UPDATE recoveries
SET position = coalesce(:position, position), recovered = recovered + :recovered,
    status = CASE WHEN :is_finished THEN 'succeeded' ELSE 'running' END,
    finished_at = CASE WHEN :is_finished THEN now() END
WHERE org_id = :org_id AND webhook_id = :webhook_id AND recovery_id = :recovery_id

-- name: lease(capacities, initial_capacity, limit, token, duration, breaker_failures, org_id)
--     (for the dispatcher: of the organization :org_id, or of all organizations if it is null)
-- Each endpoint with due deliveries gets at most its capacity, so that no endpoint can use up the limit. The endpoints
-- are processed in random order, so that none is always last. For all organizations, they are found by a loose index
-- scan, which jumps from one endpoint to the next instead of reading all deliveries that wait. If the circuit breaker of
-- an endpoint is half-open (at least :breaker_failures failures, and the pause is over), one delivery is leased. The
-- lease postpones due_at, and the column claim stores its token.
-- The commit doesn't wait for the disk: after a crash of the server that loses the lease, the deliveries are due again,
-- as after the end of the lease. The deliveries of one event share its columns, which only the first of them has.
-- :capacities has the capacities of known endpoints by organization and webhook. It isn't joined, and neither are the
-- endpoints: the planner expects few of them, and would compare each one with all others.
WITH RECURSIVE waiting AS (
    (SELECT org_id, webhook_id, due_at FROM deliveries WHERE due_at IS NOT NULL AND :org_id::int IS NULL
     ORDER BY org_id, webhook_id, due_at LIMIT 1)
    UNION ALL
    SELECT following.org_id, following.webhook_id, following.due_at
    FROM waiting CROSS JOIN LATERAL (
        SELECT org_id, webhook_id, due_at FROM deliveries
        WHERE due_at IS NOT NULL AND (org_id, webhook_id) > (waiting.org_id, waiting.webhook_id)
        ORDER BY org_id, webhook_id, due_at LIMIT 1
    ) following
), open_endpoint AS (
    SELECT hook.*
    FROM waiting CROSS JOIN LATERAL (
        SELECT org_id, webhook_id, failures FROM webhooks
        WHERE org_id = waiting.org_id AND webhook_id = waiting.webhook_id AND enabled
              AND (paused_until IS NULL OR paused_until <= now())
        LIMIT 1
    ) hook
    WHERE waiting.due_at <= now()
    UNION ALL
    SELECT org_id, webhook_id, failures FROM webhooks
    WHERE org_id = :org_id AND enabled AND (paused_until IS NULL OR paused_until <= now())
), endpoint AS (
    SELECT org_id, webhook_id, least(coalesce((:capacities::jsonb -> org_id::text ->> webhook_id)::int, :initial_capacity),
                                     CASE WHEN failures >= :breaker_failures THEN 1 END) AS capacity
    FROM open_endpoint ORDER BY random()
), due AS (
    SELECT delivery.row_address
    FROM endpoint CROSS JOIN LATERAL (
        SELECT ctid AS row_address FROM deliveries
        WHERE org_id = endpoint.org_id AND webhook_id = endpoint.webhook_id AND due_at <= now()
        ORDER BY due_at
        LIMIT endpoint.capacity
        FOR UPDATE SKIP LOCKED
    ) delivery
    LIMIT :limit
), claimed AS (
    UPDATE deliveries SET claim = :token, due_at = now() + :duration
    WHERE ctid = ANY (ARRAY (SELECT row_address FROM due)) -- the row locks keep the addresses valid
          AND (SELECT set_config('synchronous_commit', 'off', true)) = 'off'
    RETURNING org_id, webhook_id, delivery_id, event_id, attempt_count, claim
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY org_id, event_id) AS number FROM claimed
)
SELECT numbered.org_id, numbered.webhook_id, numbered.delivery_id, numbered.attempt_count, numbered.claim, hook.url,
       hook.secret, hook.previous_secret, hook.format, numbered.event_id, event.type, event.created_at, event.data,
       event.trace_context, event.project_id
FROM numbered
CROSS JOIN LATERAL (
    SELECT url, secret, CASE WHEN previous_expires_at > now() THEN previous_secret END AS previous_secret, format
    FROM webhooks WHERE org_id = numbered.org_id AND webhook_id = numbered.webhook_id LIMIT 1
) hook
LEFT JOIN LATERAL (
    SELECT type, created_at, data, trace_context, project_id FROM events
    WHERE numbered.number = 1 AND org_id = numbered.org_id AND event_id = numbered.event_id LIMIT 1
) event ON true

-- name: record(org_ids, webhook_ids, delivery_ids, tokens, statuses, delays, attempts, breaker_failures, min_pause,
--     max_pause, max_logged_attempts)
--     (the outcomes of attempts; an update changes nothing if another worker has leased the delivery since)
WITH outcome AS (
    SELECT * FROM unnest(:org_ids::int[], :webhook_ids::text[], :delivery_ids::text[], :tokens::uuid[], :statuses::text[],
                         :delays::interval[], :attempts::text[])
        AS outcome (org_id, webhook_id, delivery_id, claim, status, delay, attempt)
), written AS (
    UPDATE deliveries SET status = outcome.status, attempt_count = attempt_count + 1, claim = NULL,
                          due_at = CASE WHEN outcome.status = 'pending' THEN now() + outcome.delay END,
                          total_attempts = total_attempts + 1,
                          -- each attempt adds one entry, so deleting one is enough
                          attempt_log = CASE WHEN jsonb_array_length(attempt_log) < :max_logged_attempts THEN attempt_log
                                             ELSE attempt_log - 0 END || outcome.attempt::jsonb
    FROM outcome
    WHERE deliveries.org_id = outcome.org_id AND deliveries.webhook_id = outcome.webhook_id
          AND deliveries.delivery_id = outcome.delivery_id AND deliveries.claim = outcome.claim
    RETURNING deliveries.org_id, deliveries.webhook_id, outcome.status
), tally AS (
    SELECT org_id, webhook_id, bool_or(status = 'delivered') AS is_up, count(*)::int AS attempts
    FROM written GROUP BY org_id, webhook_id ORDER BY org_id, webhook_id
)
UPDATE webhooks hook
SET failures = CASE WHEN is_up THEN 0 ELSE failures + attempts END,
    failing_since = CASE WHEN NOT is_up THEN coalesce(failing_since, now()) END,
    -- The circuit breaker: :breaker_failures consecutive failures pause the endpoint for the time since its first failure, at
    -- least :min_pause and at most :max_pause.
    paused_until = CASE WHEN NOT is_up AND failures + attempts >= :breaker_failures
                        THEN now() + least(greatest(now() - failing_since, :min_pause::interval), :max_pause::interval) END
FROM tally
WHERE hook.org_id = tally.org_id AND hook.webhook_id = tally.webhook_id AND (NOT is_up OR failures > 0)

-- name: release(org_ids, webhook_ids, delivery_ids, tokens)  (leased deliveries that weren't attempted become due again)
UPDATE deliveries SET due_at = now(), claim = NULL
FROM unnest(:org_ids::int[], :webhook_ids::text[], :delivery_ids::text[], :tokens::uuid[])
    AS released (org_id, webhook_id, delivery_id, claim)
WHERE deliveries.org_id = released.org_id AND deliveries.webhook_id = released.webhook_id
      AND deliveries.delivery_id = released.delivery_id AND deliveries.claim = released.claim

-- name: insert_test(org_id, webhook_id, event_id)  (of an event that only this webhook receives)
INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)
VALUES (:org_id, :webhook_id, delivery_id(:webhook_id, :event_id), :event_id)
RETURNING delivery_id

-- name: reopen(org_id, webhook_id, delivery_id)
UPDATE deliveries SET status = 'pending', attempt_count = 0, due_at = now(), claim = NULL
WHERE org_id = :org_id AND webhook_id = :webhook_id AND delivery_id = :delivery_id
RETURNING delivery_id

-- name: exhaust_pending(org_id, webhook_id, limit)  (at most :limit pending deliveries of a disabled webhook)
-- Without an order: before the next ANALYZE, the planner would sort the complete backlog in each step. The outer
-- condition is the primary key and not ctid, because the planner would compare each ctid of the backlog with the array.
WITH exhausted AS (
    UPDATE deliveries SET status = 'exhausted', due_at = NULL, claim = NULL
    WHERE org_id = :org_id AND webhook_id = :webhook_id AND delivery_id = ANY (ARRAY (
        SELECT delivery_id FROM deliveries
        WHERE org_id = :org_id AND webhook_id = :webhook_id AND due_at IS NOT NULL
        LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) FROM exhausted

-- name: delete_some(org_id, webhook_id, limit)  (at most :limit deliveries of a deleted webhook)
WITH deleted AS (
    DELETE FROM deliveries
    WHERE org_id = :org_id AND webhook_id = :webhook_id AND delivery_id = ANY (ARRAY (
        SELECT delivery_id FROM deliveries
        WHERE org_id = :org_id AND webhook_id = :webhook_id
        ORDER BY delivery_id LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: has_any(org_id, webhook_id)
SELECT EXISTS (SELECT FROM deliveries WHERE org_id = :org_id AND webhook_id = :webhook_id)

-- name: lock_planned(now)  (of all organizations; one enabled webhook with due notices that isn't being planned)
SELECT org_id, webhook_id FROM webhooks hook
WHERE enabled AND EXISTS (
    SELECT FROM notices
    WHERE org_id = hook.org_id AND webhook_id = hook.webhook_id AND due_at <= coalesce(:now, clock_timestamp())
)
LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED

-- name: read_clock()
SELECT clock_timestamp()

-- name: plan(org_id, webhook_id, now)
--     (creates deliveries of the next notices, at most MAX_MESSAGES per hour, and one per subject and day; holds the others:
--     until the end of the hour, or of the day if the subject had a message; the transaction has locked the webhook)
WITH sent AS (
    SELECT subject, decided_at >= date_trunc('hour', :now::timestamptz, 'UTC') AS is_of_hour FROM notices
    WHERE org_id = :org_id AND webhook_id = :webhook_id AND message_id = event_id AND decided_at >= date_trunc('day', :now, 'UTC')
), waiting AS (
    SELECT event_id, (row_number() OVER (PARTITION BY coalesce(subject, event_id) ORDER BY event_id) > 1
                      OR subject IN (SELECT subject FROM sent WHERE subject IS NOT NULL)) IS TRUE AS is_repeated
    FROM (
        SELECT event_id, subject FROM notices
        WHERE org_id = :org_id AND webhook_id = :webhook_id AND due_at <= :now AND decided_at IS NULL
        ORDER BY event_id LIMIT {webhooks.NOTICE_STEP}
    ) oldest
), message AS (
    SELECT event_id FROM waiting WHERE NOT is_repeated
    ORDER BY event_id LIMIT greatest(0, {webhooks.MAX_MESSAGES} - (SELECT count(*) FROM sent WHERE is_of_hour))
), planned AS ( -- without joins, which are slow before the next ANALYZE
    UPDATE notices
    SET decided_at = :now, message_id = CASE WHEN event_id IN (SELECT event_id FROM message) THEN event_id END,
        due_at = CASE WHEN event_id IN (SELECT event_id FROM message) THEN NULL
                      WHEN event_id IN (SELECT event_id FROM waiting WHERE is_repeated)
                      THEN date_trunc('day', :now, 'UTC') + interval '24 hours'
                      ELSE date_trunc('hour', :now, 'UTC') + interval '1 hour' END
    WHERE org_id = :org_id AND webhook_id = :webhook_id AND event_id = ANY (ARRAY (SELECT event_id FROM waiting))
    RETURNING event_id, message_id
)
INSERT INTO deliveries AS existing (org_id, webhook_id, delivery_id, event_id)
SELECT :org_id, :webhook_id, delivery_id(:webhook_id, event_id), event_id FROM planned WHERE message_id IS NOT NULL
ON CONFLICT (org_id, webhook_id, delivery_id) DO UPDATE -- after a recovery
    SET status = 'pending', attempt_count = 0, due_at = now(), claim = NULL WHERE existing.status = 'exhausted'

-- name: summarize(org_id, webhook_id, now, message_id)
--     (assigns all held notices to a summary if one of them is due; returns their counts, and the newest event of each of
--     the first MAX_SUBJECTS subjects)
WITH held AS (
    UPDATE notices SET message_id = :message_id, due_at = NULL
    WHERE org_id = :org_id AND webhook_id = :webhook_id AND due_at IS NOT NULL AND decided_at IS NOT NULL AND EXISTS (
        SELECT FROM notices due
        WHERE org_id = :org_id AND webhook_id = :webhook_id AND due.due_at <= :now AND due.decided_at IS NOT NULL
    )
    RETURNING event_id, subject, decided_at
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY coalesce(subject, event_id) ORDER BY event_id DESC) = 1 AS is_newest FROM held
)
SELECT type, project_id, count(*)::int AS count, min(decided_at) AS since, max(decided_at) AS until,
       coalesce((array_agg(event_id ORDER BY event_id) FILTER (WHERE is_newest))[:{webhooks.MAX_SUBJECTS}], '{}') AS event_ids
FROM ranked JOIN events USING (event_id) WHERE events.org_id = :org_id
GROUP BY type, project_id ORDER BY count DESC, type, project_id

-- name: find_events(org_id, event_ids)
SELECT type, project_id, data FROM events WHERE org_id = :org_id AND event_id = ANY (:event_ids) ORDER BY event_id

-- name: webhook_fields
w.webhook_id AS id, w.url, w.description, w.events,
ARRAY (SELECT type FROM unnest(w.events) type WHERE type <> ALL (:sent_types::text[])) AS never_sent,
w.project_id, w.format,
json_build_object('project_id', w.project_id, 'branch', w.branch, 'owner', w.owner, 'state', w.state) AS filters,
w.enabled, w.disabled_reason, w.failures,
rfc3339(w.failing_since) AS failing_since, rfc3339(w.paused_until) AS paused_until,
rfc3339(CASE WHEN w.previous_expires_at > now() THEN w.previous_expires_at END) AS previous_secret_expires_at,
rfc3339(w.created_at) AS created_at, rfc3339(w.updated_at) AS updated_at

-- name: one_webhook
SELECT row_to_json(item)::text FROM (
    SELECT {webhook_fields} FROM webhooks w
    WHERE w.org_id = :org_id AND w.webhook_id = :webhook_id
      AND (:project_id::text IS NULL OR w.project_id = :project_id) AND w.deleted_at IS NULL
) item

-- name: listed_webhooks
SELECT {webhook_fields} FROM webhooks w
WHERE w.org_id = :org_id AND w.webhook_id < :before::text
  AND (:project_id::text IS NULL OR w.project_id = :project_id) AND w.deleted_at IS NULL
ORDER BY w.webhook_id DESC LIMIT :page::int + 1

-- name: delivery_fields
d.delivery_id AS id, d.event_id, d.status, d.total_attempts AS attempts,
rfc3339(d.due_at) AS next_attempt_at, d.attempt_log -> -1 -> 'status' AS last_status,
rfc3339(d.created_at) AS created_at, d.attempt_log

-- name: one_delivery
SELECT row_to_json(item)::text FROM (
    SELECT {delivery_fields} FROM deliveries d
    WHERE d.org_id = :org_id AND d.webhook_id = :webhook_id AND d.delivery_id = :delivery_id
) item

-- name: listed_deliveries  (newest event first: a delivery ID starts with the time of the event)
SELECT {delivery_fields} FROM deliveries d
WHERE d.org_id = :org_id AND d.webhook_id = :webhook_id AND d.delivery_id < :before::text
  AND (:status::text IS NULL OR d.status = :status)
ORDER BY d.delivery_id DESC LIMIT :page::int + 1
