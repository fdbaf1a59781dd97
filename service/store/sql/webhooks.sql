-- name: insert
INSERT INTO webhooks (org_id, webhook_id, url, description, events, project_id, enabled, disabled_reason, secret)
VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN NOT $7 THEN 'by_request' END, $8)

-- name: lock_list  (so that only one transaction of an organization counts and inserts webhooks)
SELECT pg_advisory_xact_lock(hashtext('webhooks'), $1::int)

-- name: count
SELECT count(*) FROM webhooks WHERE org_id = $1 AND deleted_at IS NULL

-- name: lock  (before a change; $3 is the project to which the caller's key is bound)
SELECT url, description, events, project_id, enabled FROM webhooks
WHERE org_id = $1 AND webhook_id = $2 AND ($3::text IS NULL OR project_id = $3) AND deleted_at IS NULL
FOR UPDATE

-- name: update  (a new URL, or enabling a disabled webhook, resets its failures)
UPDATE webhooks
SET url = $3, description = $4, events = $5, project_id = $6, enabled = $7, updated_at = now(),
    disabled_reason = CASE WHEN $7 THEN NULL ELSE coalesce(disabled_reason, 'by_request') END,
    failures = CASE WHEN $7 AND (NOT enabled OR url <> $3) THEN 0 ELSE failures END,
    failing_since = CASE WHEN $7 AND (NOT enabled OR url <> $3) THEN NULL ELSE failing_since END,
    paused_until = CASE WHEN $7 AND (NOT enabled OR url <> $3) THEN NULL ELSE paused_until END
WHERE org_id = $1 AND webhook_id = $2

-- name: delete  (removes the secrets immediately; the dispatcher removes the deliveries, and then the row)
UPDATE webhooks
SET deleted_at = now(), enabled = false, disabled_reason = 'by_request', secret = '', previous_secret = NULL
WHERE org_id = $1 AND webhook_id = $2 AND ($3::text IS NULL OR project_id = $3) AND deleted_at IS NULL
RETURNING webhook_id

-- name: lock_disabled  (of all organizations; one disabled webhook with pending deliveries that isn't being changed)
SELECT org_id, webhook_id FROM webhooks hook
WHERE NOT enabled AND EXISTS (
    SELECT FROM deliveries
    WHERE org_id = hook.org_id AND webhook_id = hook.webhook_id AND due_at IS NOT NULL
)
LIMIT 1
FOR NO KEY UPDATE SKIP LOCKED

-- name: lock_deleted  (of all organizations; one deleted webhook that isn't being changed)
SELECT org_id, webhook_id FROM webhooks WHERE NOT enabled AND deleted_at IS NOT NULL LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: remove  (a deleted webhook without deliveries)
DELETE FROM webhooks WHERE org_id = $1 AND webhook_id = $2 AND deleted_at IS NOT NULL

-- name: rotate_secret  (the previous secret also signs for the interval $4)
UPDATE webhooks
SET previous_secret = secret, previous_expires_at = now() + $4::interval, secret = $3, updated_at = now()
WHERE org_id = $1 AND webhook_id = $2

-- name: find_key_ids  (of all organizations; the encryption keys of the secrets that still sign)
SELECT DISTINCT split_part(stored.secret, ':', 2) AS key_id
FROM webhooks hook CROSS JOIN LATERAL (
    VALUES (hook.secret), (CASE WHEN hook.previous_expires_at > now() THEN hook.previous_secret END)
) stored (secret)
WHERE starts_with(stored.secret, 'fernet:')

-- name: lock_secrets  (of all organizations; at most $2 webhooks with a secret that doesn't start with $1)
SELECT org_id, webhook_id, secret, CASE WHEN previous_expires_at > now() THEN previous_secret END AS previous_secret
FROM webhooks
WHERE deleted_at IS NULL AND (NOT starts_with(secret, $1) OR NOT starts_with(previous_secret, $1))
ORDER BY org_id, webhook_id LIMIT $2
FOR UPDATE

-- name: replace_secrets
UPDATE webhooks SET secret = $3, previous_secret = $4 WHERE org_id = $1 AND webhook_id = $2

-- name: disable  (returns no row if the webhook is already disabled)
UPDATE webhooks SET enabled = false, disabled_reason = $3, updated_at = now()
WHERE org_id = $1 AND webhook_id = $2 AND enabled
RETURNING description, project_id, failing_since

-- name: find_failing  (the endpoints of the list that have failed for longer than $3)
SELECT hook.org_id, hook.webhook_id
FROM unnest($1::int[], $2::text[]) AS candidate (org_id, webhook_id) JOIN webhooks hook USING (org_id, webhook_id)
WHERE hook.enabled AND hook.failing_since < now() - $3::interval

-- name: insert_recovery
INSERT INTO recoveries (org_id, webhook_id, recovery_id, since, position)
VALUES ($1, $2, $3, $4, 'evt_' || lpad(to_hex(greatest(0, (extract(epoch FROM $4::timestamptz) * 1000)::bigint)), 12, '0'))

-- name: find_recovery
SELECT json_build_object(
           'id', recovery_id, 'webhook_id', webhook_id, 'status', status, 'since', rfc3339(since),
           'until', rfc3339(until), 'recovered', recovered, 'created_at', rfc3339(created_at),
           'finished_at', rfc3339(finished_at)
       )::text AS data
FROM recoveries
WHERE org_id = $1 AND webhook_id = $2 AND recovery_id = $3

-- name: claim_recovery  (for the dispatcher, of all organizations; the row lock is the claim for one step)
SELECT org_id, webhook_id, recovery_id, position, until FROM recoveries
WHERE finished_at IS NULL ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED

-- name: recover_step  (opens the missed deliveries of the next events, including those while the webhook was disabled)
WITH examined AS (
    SELECT event_id, type, project_id FROM events
    WHERE org_id = $1 AND event_id > $3 AND created_at <= $4
    ORDER BY event_id LIMIT $5
), missed AS (
    INSERT INTO deliveries AS existing (org_id, webhook_id, delivery_id, event_id)
    SELECT $1, $2, delivery_id($2, examined.event_id), examined.event_id
    FROM examined JOIN webhooks hook ON hook.org_id = $1 AND hook.webhook_id = $2
    WHERE hook.deleted_at IS NULL AND examined.type <> ALL ($6) AND is_subscribed(hook, examined.type, examined.project_id)
    ON CONFLICT (org_id, webhook_id, delivery_id) DO UPDATE
        SET status = 'pending', attempt_count = 0, due_at = now(), claim = NULL
        WHERE existing.status = 'exhausted'
    RETURNING 1
)
SELECT (SELECT count(*) FROM examined)::int AS examined, (SELECT max(event_id) FROM examined) AS last,
       (SELECT count(*) FROM missed)::int AS recovered

-- name: advance_recovery  (the transaction has locked the row)
UPDATE recoveries
SET position = coalesce($4, position), recovered = recovered + $5, status = CASE WHEN $6 THEN 'succeeded' ELSE 'running' END,
    finished_at = CASE WHEN $6 THEN now() END
WHERE org_id = $1 AND webhook_id = $2 AND recovery_id = $3
