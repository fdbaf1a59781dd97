-- name: record_heartbeat(worker_id, role)
INSERT INTO heartbeats (worker_id, role, heartbeat_at) VALUES (:worker_id, :role, now())
ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = now()

-- name: delete_heartbeat(worker_id)
DELETE FROM heartbeats WHERE worker_id = :worker_id OR heartbeat_at < now() - interval '1 day'

-- name: count_live_workers()  (a worker is live if its last heartbeat is at most 15 s old)
SELECT role, count(*)::int AS workers FROM heartbeats
WHERE heartbeat_at > now() - interval '15 seconds'
GROUP BY role ORDER BY role

-- name: find_heartbeats(roles)  (counts workers by the same limit as count_live_workers)
SELECT role, (count(*) FILTER (WHERE heartbeat_at > now() - interval '15 seconds'))::int AS workers,
       extract(epoch FROM now() - max(heartbeat_at))::float8 AS heartbeat_age_s
FROM unnest(:roles::text[]) AS requested (role) LEFT JOIN heartbeats USING (role)
GROUP BY role ORDER BY role

-- name: start_attempt(queue, body_sha256, process)
--     (a message that no consumer has attempted for a day starts again; repeatable)
WITH expired AS (
    DELETE FROM crash_suspects
    WHERE attempted_at < now() - interval '1 day' AND (queue, body_sha256) <> (:queue, :body_sha256)
)
INSERT INTO crash_suspects AS suspect (queue, body_sha256, attempt_count, attempted_by)
VALUES (:queue, :body_sha256, 0, ARRAY[:process])
ON CONFLICT (queue, body_sha256) DO UPDATE
SET attempt_count = CASE WHEN suspect.attempted_at < now() - interval '1 day' THEN 0 ELSE suspect.attempt_count END,
    attempted_by = CASE WHEN suspect.attempted_at < now() - interval '1 day' THEN excluded.attempted_by
                        ELSE array_append(array_remove(suspect.attempted_by, :process), :process) END,
    attempted_at = now()
RETURNING attempt_count + cardinality(attempted_by)

-- name: withdraw_attempt(queue, body_sha256, process)
UPDATE crash_suspects SET attempted_by = array_remove(attempted_by, :process)
WHERE queue = :queue AND body_sha256 = :body_sha256

-- name: clear(queue, body_sha256)
DELETE FROM crash_suspects WHERE queue = :queue AND body_sha256 = :body_sha256

-- name: prefer_index_scans()
-- Until the transaction ends. If the backlog was small at the last ANALYZE, the planner would sort all of its rows.
SELECT set_config(name, 'off', true) FROM unnest('{enable_seqscan,enable_bitmapscan,enable_sort}'::text[]) name

-- name: find_backlogs(limit)
-- Reads at most :limit rows of each kind, of all organizations. Each ORDER BY matches an index, so that LIMIT ends the
-- scan; see prefer_index_scans. Endpoints are found as in webhooks.lease, each with its oldest due delivery. Disabled
-- and paused endpoints are excluded, because their deliveries wait intentionally.
WITH RECURSIVE waiting AS (
    (SELECT org_id, webhook_id, due_at FROM deliveries WHERE due_at IS NOT NULL
     ORDER BY org_id, webhook_id, due_at LIMIT 1)
    UNION ALL
    SELECT following.org_id, following.webhook_id, following.due_at
    FROM waiting CROSS JOIN LATERAL (
        SELECT org_id, webhook_id, due_at FROM deliveries
        WHERE due_at IS NOT NULL AND (org_id, webhook_id) > (waiting.org_id, waiting.webhook_id)
        ORDER BY org_id, webhook_id, due_at LIMIT 1
    ) following
), endpoint AS (
    SELECT waiting.org_id, waiting.webhook_id, waiting.due_at
    FROM (SELECT * FROM waiting LIMIT :limit) waiting
    CROSS JOIN LATERAL (
        SELECT enabled, paused_until FROM webhooks
        WHERE org_id = waiting.org_id AND webhook_id = waiting.webhook_id LIMIT 1
    ) hook
    WHERE waiting.due_at <= now() AND hook.enabled AND (hook.paused_until IS NULL OR hook.paused_until <= now())
), due AS (
    SELECT 1 FROM endpoint CROSS JOIN LATERAL (
        SELECT 1 FROM deliveries
        WHERE org_id = endpoint.org_id AND webhook_id = endpoint.webhook_id AND due_at <= now()
        ORDER BY due_at LIMIT :limit
    ) delivery
    LIMIT :limit
), export AS (
    SELECT status FROM exports WHERE status IN ('queued', 'running') ORDER BY org_id, export_id LIMIT :limit
), report AS (
    SELECT status FROM receipts WHERE status IN ('queued', 'processing') ORDER BY org_id, receipt_id LIMIT :limit
)
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM outbox ORDER BY outbox_id LIMIT :limit) message) AS messages,
    (SELECT extract(epoch FROM now() - created_at)::float8 FROM outbox ORDER BY outbox_id LIMIT 1) AS oldest_message_s,
    (SELECT count(*) FROM due) AS deliveries,
    (SELECT extract(epoch FROM now() - min(due_at))::float8 FROM endpoint) AS oldest_delivery_s,
    (SELECT count(*) FROM export WHERE status = 'queued') AS exports_queued,
    (SELECT count(*) FROM export WHERE status = 'running') AS exports_running,
    (SELECT count(*) FROM report WHERE status = 'queued') AS reports_queued,
    (SELECT count(*) FROM report WHERE status = 'processing') AS reports_processing,
    (SELECT count(*) FROM (SELECT 1 FROM dead_letters ORDER BY dead_letter_id LIMIT :limit) dead_letter) AS dead_letters
