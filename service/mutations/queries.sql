-- The audit trail as commands show it, in fragments that service/database/composition.py composes.

-- Who did something: an API key, a trusted publisher, or a person.

-- name: newest_audit_entries
SELECT rfc3339(a.at) AS at, a.actor, a.action, a.subject, a.request_id, {actor_name} AS actor_name, a.job
FROM (SELECT * FROM audit_trail WHERE org_id = :org_id ORDER BY entry_id DESC LIMIT :page) a
CROSS JOIN LATERAL (SELECT a.org_id, a.actor AS id) actor
ORDER BY a.entry_id DESC

-- name: actor_name  (of the row `actor`, with org_id and id; null if the actor is the command line or was erased)
CASE left(actor.id, 4)
    WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
    WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
    WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
END
