-- $1 org_id
-- $2 quarantine_id
-- $3 project_id

SELECT row_to_json(item)::text FROM (
    SELECT q.quarantine_id AS id, q.project_id, case_public_id(q.case_key) AS "case", q.suite, q.name, q.variant, q.reason, q.owner,
    q.ticket_url, rfc3339(q.expires_at) AS expires_at, q.ended_at IS NULL AND q.expires_at > now() AS active, q.created_by,
    (SELECT CASE left(actor.id, 4)
        WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
        WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
        WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
    END FROM (SELECT q.org_id, q.created_by AS id) actor) AS created_by_name, rfc3339(q.created_at) AS created_at, rfc3339(q.ended_at) AS ended_at FROM quarantines q
    WHERE q.org_id = $1 AND q.quarantine_id = $2
      AND ($3::text IS NULL OR q.project_id = $3)
) item;
