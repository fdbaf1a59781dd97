-- name: create_month_partitions
SELECT create_month_partitions($1::date)

-- name: try_lock_dropping  (released when the connection ends)
SELECT pg_try_advisory_lock(hashtext('drop_months'))

-- name: find_drop_step  (the next statement that removes the month $1, or that continues an interrupted removal)
-- DETACH CONCURRENTLY consists of two transactions; after an interruption between them, FINALIZE executes the second.
-- The comment 'expired' marks partitions that the service detaches: a partition that an operator detached stays. On an
-- attached partition, the mark is invalid and is removed. Results are dropped first, so that no result is visible
-- without its details.
SELECT name, NOT is_pending AND is_attached AND NOT is_marked AS detaches,
       CASE WHEN is_pending THEN format('ALTER TABLE public.%I DETACH PARTITION public.%I FINALIZE', parent, name)
            WHEN NOT is_attached THEN format('DROP TABLE public.%I', name)
            WHEN is_marked THEN format('COMMENT ON TABLE public.%I IS NULL', name)
            ELSE format('ALTER TABLE public.%I DETACH PARTITION public.%I', parent, name)
                 || CASE WHEN $2 THEN ' CONCURRENTLY' ELSE '' END END AS statement
FROM (
    SELECT relname AS name, substring(relname FROM '^(.+)_[0-9]{4}_[0-9]{2}') AS parent,
           substring(relname FROM '_([0-9]{4}_[0-9]{2})') AS month,
           inhrelid IS NOT NULL AS is_attached, coalesce(inhdetachpending, false) AS is_pending,
           coalesce(obj_description(pg_class.oid, 'pg_class') = 'expired', false) AS is_marked
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname ~ '^(results|result_details|shard_results|artifacts)_[0-9]{4}_[0-9]{2}(_[0-9]+)?$'
) partition
WHERE is_marked OR is_pending OR is_attached AND month = to_char($1::date, 'YYYY_MM')
ORDER BY is_attached AND NOT is_pending, month,
         array_position(ARRAY['results', 'result_details', 'shard_results', 'artifacts'], parent)
LIMIT 1

-- name: find_mark  (the statement that marks a partition)
-- Takes the lock of the detachment before it sets the mark, so that the detachment follows without a wait.
SELECT format('LOCK TABLE ONLY public.%I IN SHARE UPDATE EXCLUSIVE MODE; COMMENT ON TABLE public.%I IS %L',
              substring($1::text FROM '^(.+)_[0-9]{4}_[0-9]{2}'), $1::text, 'expired')

-- name: find_unmark  (the statement that removes the mark; no row if the detachment has begun)
SELECT format('COMMENT ON TABLE public.%I IS NULL', $1::text)
WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(format('public.%I', $1::text)) AND inhdetachpending)

-- name: find_files  (of all organizations: stored files among the next $7 artifacts between two run keys)
-- Also returns the last examined artifact, from which the next call continues. Export files have their own expiration.
WITH examined AS (
    SELECT org_id, run_key, case_key, artifact_key, CASE WHEN expires_at IS NULL THEN path END AS path FROM artifacts
    WHERE run_key >= $1 AND run_key < $2 AND (org_id, run_key, case_key, artifact_key) > ($3, $4, $5, $6)
    ORDER BY org_id, run_key, case_key, artifact_key LIMIT $7
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY org_id, run_key, case_key, artifact_key) AS position, count(*) OVER () AS total
    FROM examined
)
SELECT org_id, run_key, case_key, artifact_key, path FROM numbered
WHERE path IS NOT NULL OR position = total ORDER BY position

-- name: notify  (listeners then query the tables)
SELECT pg_notify($1, $2)
