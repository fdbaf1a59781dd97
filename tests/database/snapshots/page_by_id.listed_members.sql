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
            SELECT m.member_id AS id, m.email, m.group_name AS "group", m.role, m.project_id,
            (SELECT p.name FROM people p WHERE p.org_id = m.org_id AND p.person_id = m.person_id) AS name,
            rfc3339(m.last_seen_at) AS last_seen_at, m.created_by,
            (SELECT CASE left(actor.id, 4)
                WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
                WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
                WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                                  WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
                WHEN 'poli' THEN 'automatic quarantine'
            END FROM (SELECT m.org_id, m.created_by AS id) actor) AS created_by_name, rfc3339(m.created_at) AS created_at FROM members m
            WHERE m.org_id = $2 AND m.member_id < $3::text AND m.removed_at IS NULL
              AND ($4::text IS NULL OR m.project_id = $4)
            ORDER BY m.member_id DESC LIMIT $1::int + 1
        ) listed
    ) numbered
) sized;
