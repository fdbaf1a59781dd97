-- $1 org_id
-- $2 page

SELECT rfc3339(a.at) AS at, a.actor, a.action, a.subject, a.request_id, CASE left(actor.id, 4)
    WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
    WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
    WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
END AS actor_name, a.job
FROM (SELECT * FROM audit_trail WHERE org_id = $1 ORDER BY entry_id DESC LIMIT $2) a
CROSS JOIN LATERAL (SELECT a.org_id, a.actor AS id) actor
ORDER BY a.entry_id DESC;
