-- $1 sent_types
-- $2 org_id
-- $3 webhook_id
-- $4 project_id

SELECT row_to_json(item)::text FROM (
    SELECT w.webhook_id AS id, w.url, w.description, w.events,
    ARRAY (SELECT type FROM unnest(w.events) type WHERE type <> ALL ($1::text[])) AS never_sent, w.project_id, w.enabled, w.disabled_reason, w.failures,
    rfc3339(w.failing_since) AS failing_since, rfc3339(w.paused_until) AS paused_until,
    rfc3339(CASE WHEN w.previous_expires_at > now() THEN w.previous_expires_at END) AS previous_secret_expires_at,
    rfc3339(w.created_at) AS created_at, rfc3339(w.updated_at) AS updated_at FROM webhooks w
    WHERE w.org_id = $2 AND w.webhook_id = $3
      AND ($4::text IS NULL OR w.project_id = $4) AND w.deleted_at IS NULL
) item;
