-- name: take_snapshot
SELECT 1 FROM runs WHERE org_id = $1 LIMIT 1

-- name: find_queries  (one per table with an org_id: the rows of the organization $1 as JSON, for COPY)
-- Includes tables that are added later, and excludes the columns $2 (table.column). A detached partition is expired. A line
-- break in a value of the type json is insignificant.
SELECT relname AS table,
       format('SELECT replace(row_to_json(row)::text, E''\n'', '' '') FROM (SELECT %s FROM public.%I WHERE org_id = %s) row',
              string_agg(quote_ident(attname), ', ' ORDER BY attnum), relname, $1::int) AS query
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relname || '.' || attname <> ALL ($2::text[])
      AND (relkind = 'p' OR relkind = 'r' AND NOT relispartition AND relowner <> 'results_owner'::regrole)
      AND EXISTS (SELECT FROM pg_attribute key WHERE key.attrelid = pg_class.oid AND key.attname = 'org_id' AND NOT key.attisdropped)
GROUP BY relname ORDER BY relname
