-- $1 page
-- $2 org_id
-- $3 before
-- $4 project_id

SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= $1::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            SELECT p.publisher_id AS id, p.name, p.provider, p.issuer, p.claims, p.project_id, p.role, p.enabled, p.created_by,
            (SELECT CASE left(actor.id, 4)
                WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
                WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
                WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                                  WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
                WHEN 'poli' THEN 'automatic quarantine'
            END FROM (SELECT p.org_id, p.created_by AS id) actor) AS created_by_name,
            rfc3339(p.created_at) AS created_at, rfc3339(p.last_used_at) AS last_used_at FROM publishers p
            WHERE p.org_id = $2 AND p.publisher_id < $3::text
              AND ($4::text IS NULL OR p.project_id = $4) AND p.deleted_at IS NULL
            ORDER BY p.publisher_id DESC LIMIT $1::int + 1
        ) listed
    ) numbered
) sized;
