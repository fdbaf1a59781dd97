-- $1 page
-- $2 org_id
-- $3 before
-- $4 project_id
-- $5 case_key
-- $6 active

SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= $1::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            SELECT q.quarantine_id AS id, q.project_id, case_public_id(q.case_key) AS "case", NULL AS named_case, q.suite, q.name, q.variant, q.reason, q.owner,
            q.ticket_url, rfc3339(q.expires_at) AS expires_at, q.ended_at IS NULL AND q.expires_at > now() AS active, q.created_by,
            (SELECT CASE left(actor.id, 4)
                WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
                WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
                WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                                  WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
                WHEN 'poli' THEN 'automatic quarantine'
            END FROM (SELECT q.org_id, q.created_by AS id) actor) AS created_by_name,
            rfc3339(q.created_at) AS created_at, rfc3339(q.ended_at) AS ended_at FROM quarantines q
            WHERE q.org_id = $2 AND q.quarantine_id < $3::text
              AND ($4::text IS NULL OR q.project_id = $4)
              AND ($5::bigint IS NULL OR q.case_key = $5)
              AND ($6::bool IS NULL OR (q.ended_at IS NULL AND q.expires_at > now()) = $6)
            ORDER BY q.quarantine_id DESC LIMIT $1::int + 1
        ) listed
    ) numbered
) sized;
