-- $1 page
-- $2 sent_types
-- $3 org_id
-- $4 before
-- $5 project_id

SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= $1::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            SELECT w.webhook_id AS id, w.url, w.description, w.events,
            ARRAY (SELECT type FROM unnest(w.events) type WHERE type <> ALL ($2::text[])) AS never_sent,
            w.project_id, w.format,
            json_build_object('project_id', w.project_id, 'branch', w.branch, 'owner', w.owner, 'state', w.state) AS filters,
            w.enabled, w.disabled_reason, w.failures,
            rfc3339(w.failing_since) AS failing_since, rfc3339(w.paused_until) AS paused_until,
            rfc3339(CASE WHEN w.previous_expires_at > now() THEN w.previous_expires_at END) AS previous_secret_expires_at,
            rfc3339(w.created_at) AS created_at, rfc3339(w.updated_at) AS updated_at FROM webhooks w
            WHERE w.org_id = $3 AND w.webhook_id < $4::text
              AND ($5::text IS NULL OR w.project_id = $5) AND w.deleted_at IS NULL
            ORDER BY w.webhook_id DESC LIMIT $1::int + 1
        ) listed
    ) numbered
) sized;
