-- name: insert
INSERT INTO token_exchanges (org_id, publisher_id, issuer, token_sha256, job, project_id, key_id, refusal, claims)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: list_newest  (of the newest $4; $2 is the project to which the caller is bound)
SELECT rfc3339(e.at) AS at, e.publisher_id, p.name AS publisher_name, e.issuer, e.project_id, e.job, e.key_id, e.claims,
       e.refusal
FROM (
    SELECT * FROM token_exchanges WHERE org_id = $1 ORDER BY exchange_id DESC LIMIT $4
) e LEFT JOIN publishers p ON p.org_id = $1 AND p.publisher_id = e.publisher_id
WHERE ($2::text IS NULL OR e.project_id = $2) AND ($3::text IS NULL OR e.publisher_id = $3)
ORDER BY e.exchange_id DESC

-- name: delete_outdated  (of all organizations, at most $2 that aren't among the newest $1 of an organization)
WITH deleted AS (
    DELETE FROM token_exchanges
    WHERE ctid = ANY (ARRAY (
        SELECT outdated.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT exchange_id FROM token_exchanges
            WHERE org_id = org.org_id ORDER BY exchange_id DESC OFFSET $1::int LIMIT 1
        ) newest_outdated CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM token_exchanges
            WHERE org_id = org.org_id AND exchange_id <= newest_outdated.exchange_id LIMIT $2
        ) outdated
        LIMIT $2
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted
