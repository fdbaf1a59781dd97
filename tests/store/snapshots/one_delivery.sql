-- $1 org_id
-- $2 webhook_id
-- $3 delivery_id

SELECT row_to_json(item)::text FROM (
    SELECT d.delivery_id AS id, d.event_id, d.status, d.total_attempts AS attempts,
    rfc3339(d.due_at) AS next_attempt_at, d.attempt_log -> -1 -> 'status' AS last_status,
    rfc3339(d.created_at) AS created_at, d.attempt_log FROM deliveries d
    WHERE d.org_id = $1 AND d.webhook_id = $2 AND d.delivery_id = $3
) item;
