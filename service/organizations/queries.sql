-- The organization of a row that a statement requests, as fragments (see service/database/pages.py).

-- name: requested_organization  (the rows can be of several organizations)
requested.org_id

-- name: one_organization  (all rows are of one organization, so that one shard of a distributed table has them)
:org_id::int
