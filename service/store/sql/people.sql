-- Erasure of a person: where rows of an organization contain the name or email.

-- name: find_ids  (of the people with this email, now or when they signed in first)
SELECT person_id FROM people WHERE org_id = $1 AND email = $2
UNION SELECT person_id FROM members WHERE org_id = $1 AND email = $2 AND person_id IS NOT NULL
ORDER BY person_id

-- name: find_emails  (of people)
SELECT email FROM people WHERE org_id = $1 AND person_id = ANY ($2::text[]) AND email IS NOT NULL
UNION SELECT email FROM members WHERE org_id = $1 AND person_id = ANY ($2::text[]) AND email IS NOT NULL

-- name: erase_members  (also those that were removed before; another person can have the same email now)
UPDATE members SET email = NULL, removed_at = coalesce(removed_at, now())
WHERE org_id = $1 AND email IS NOT NULL AND (person_id = ANY ($2::text[]) OR person_id IS NULL AND email = ANY ($3::text[]))
RETURNING member_id

-- name: delete_people
DELETE FROM people WHERE org_id = $1 AND person_id = ANY ($2::text[]) RETURNING person_id

-- name: find_in_events  (the next events, and the data of those about what the people $2 created)
SELECT event_id, CASE WHEN data ->> 'created_by' = ANY ($2::text[]) THEN data::text END AS data
FROM events WHERE org_id = $1 AND event_id > $3 ORDER BY event_id LIMIT $4

-- name: delete_responses  (stored for repeated requests, with the texts $2)
DELETE FROM idempotency_keys WHERE org_id = $1 AND EXISTS (
    SELECT FROM unnest($2::text[]) AS stated (text)
    WHERE position(convert_to(to_json(stated.text)::text, 'UTF8') IN body) > 0
)
