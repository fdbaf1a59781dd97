-- Webhooks and deliveries as the API returns them, in fragments that service/database/composition.py composes.

-- name: webhook_fields
w.webhook_id AS id, w.url, w.description, w.events,
ARRAY (SELECT type FROM unnest(w.events) type WHERE type <> ALL (:sent_types::text[])) AS never_sent, w.project_id, w.enabled, w.disabled_reason, w.failures,
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
