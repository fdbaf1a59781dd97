-- $1 org_id
-- $2 run_id
-- $3 project_id
-- $4 page

SELECT coalesce(jsonb_agg(item ORDER BY excuse_id DESC), '[]')::text
FROM (
    SELECT e.excuse_id, e.document || jsonb_build_object(
        'id', e.excuse_id, 'created_by', e.created_by, 'created_at', rfc3339(e.created_at),
        'created_by_name', (SELECT CASE left(actor.id, 4)
            WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
            WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
            WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                              WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
            WHEN 'poli' THEN 'automatic quarantine'
        END FROM (SELECT $1::int AS org_id, e.created_by AS id) actor)) AS item
    FROM excuses e WHERE e.org_id = $1 AND e.run_id = $2 AND e.project_id = $3 ORDER BY e.excuse_id DESC LIMIT $4::int
) newest;
