-- name: close  (events and keys no longer find the organization)
UPDATE organizations SET slug = slug || $2 WHERE org_id = $1 AND NOT starts_with(reverse(slug), reverse($2))

-- name: delete_keys
DELETE FROM api_keys WHERE org_id = $1

-- name: delete_publishers
DELETE FROM publishers WHERE org_id = $1

-- name: delete_members  (which ends the sessions of people)
DELETE FROM members WHERE org_id = $1

-- name: find_statements  (one per table with an org_id: deletes at most $1 rows of an organization, and returns their number)
-- Includes tables that are added later. Tables that others reference are last. With $2, the partitions, also detached ones.
SELECT format('WITH deleted AS (DELETE FROM public.%1$I WHERE org_id = $1 AND ctid = ANY (ARRAY ('
              'SELECT ctid FROM public.%1$I WHERE org_id = $1 LIMIT %2$s)) RETURNING 1) SELECT count(*) FROM deleted',
              relname, $1::int) AS statement
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'org_id' AND NOT attisdropped
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'organizations'
      AND (relowner = 'results_owner'::regrole) = $2
ORDER BY EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = pg_class.oid), relname

-- name: lock  (waits for the transactions that insert rows of the organization, and blocks new ones)
SELECT FROM organizations WHERE org_id = $1 FOR UPDATE

-- name: delete
DELETE FROM organizations WHERE org_id = $1

-- name: prevent_deletion  (until the end of the transaction, as a foreign key does)
SELECT FROM organizations WHERE org_id = ANY ($1::int[]) ORDER BY org_id FOR KEY SHARE
