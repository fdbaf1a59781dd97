-- Who did something: an API key, a trusted publisher, or a person.

-- name: actor_name  (of the row `actor`, with org_id and id; null if the actor is the command line or was erased)
CASE left(actor.id, 4)
    WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
    WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
    WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
END
