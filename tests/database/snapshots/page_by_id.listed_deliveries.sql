-- $1 page
-- $2 org_id
-- $3 webhook_id
-- $4 before
-- $5 status

SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= $1::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            SELECT d.delivery_id AS id, d.event_id, d.status, d.total_attempts AS attempts,
            rfc3339(d.due_at) AS next_attempt_at, d.attempt_log -> -1 -> 'status' AS last_status,
            rfc3339(d.created_at) AS created_at, d.attempt_log FROM deliveries d
            WHERE d.org_id = $2 AND d.webhook_id = $3 AND d.delivery_id < $4::text
              AND ($5::text IS NULL OR d.status = $5)
            ORDER BY d.delivery_id DESC LIMIT $1::int + 1
        ) listed
    ) numbered
) sized;
