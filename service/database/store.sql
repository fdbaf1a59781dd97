-- name: create_month_partitions(month)
SELECT create_month_partitions(:month::date)

-- name: try_lock_dropping()  (released when the connection ends)
SELECT pg_try_advisory_lock(hashtext('drop_months'))

-- name: find_drop_step(month, concurrently)
--     (the next statement that removes the month, or that continues an interrupted removal)
-- DETACH CONCURRENTLY consists of two transactions; after an interruption between them, FINALIZE executes the second.
-- The comment 'expired' marks partitions that the service detaches: a partition that an operator detached stays. On an
-- attached partition, the mark is invalid and is removed. Results are dropped first, so that no result is visible
-- without its details.
SELECT name, NOT is_pending AND is_attached AND NOT is_marked AS detaches,
       CASE WHEN is_pending THEN format('ALTER TABLE public.%I DETACH PARTITION public.%I FINALIZE', parent, name)
            WHEN NOT is_attached THEN format('DROP TABLE public.%I', name)
            WHEN is_marked THEN format('COMMENT ON TABLE public.%I IS NULL', name)
            ELSE format('ALTER TABLE public.%I DETACH PARTITION public.%I', parent, name)
                 || CASE WHEN :concurrently THEN ' CONCURRENTLY' ELSE '' END END AS statement
FROM (
    SELECT relname AS name, substring(relname FROM '^(.+)_[0-9]{4}_[0-9]{2}') AS parent,
           substring(relname FROM '_([0-9]{4}_[0-9]{2})') AS month,
           inhrelid IS NOT NULL AS is_attached, coalesce(inhdetachpending, false) AS is_pending,
           coalesce(obj_description(pg_class.oid, 'pg_class') = 'expired', false) AS is_marked
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname ~ '^(results|result_details|shard_results|artifacts)_[0-9]{4}_[0-9]{2}(_[0-9]+)?$'
) partition
WHERE is_marked OR is_pending OR is_attached AND month = to_char(:month::date, 'YYYY_MM')
ORDER BY is_attached AND NOT is_pending, month,
         array_position(ARRAY['results', 'result_details', 'shard_results', 'artifacts'], parent)
LIMIT 1

-- name: find_mark(name)  (the statement that marks a partition)
-- Takes the lock of the detachment before it sets the mark, so that the detachment follows without a wait.
SELECT format('LOCK TABLE ONLY public.%I IN SHARE UPDATE EXCLUSIVE MODE; COMMENT ON TABLE public.%I IS %L',
              substring(:name::text FROM '^(.+)_[0-9]{4}_[0-9]{2}'), :name::text, 'expired')

-- name: find_unmark(name)  (the statement that removes the mark; no row if the detachment has begun)
SELECT format('COMMENT ON TABLE public.%I IS NULL', :name::text)
WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(format('public.%I', :name::text)) AND inhdetachpending)

-- name: find_files(first_key, before_key, after_org, after_run, after_case, after_artifact, limit)
--     (of all organizations: stored files among the next :limit artifacts between two run keys)
-- Also returns the last examined artifact, from which the next call continues. Export files have their own expiration.
WITH examined AS (
    SELECT org_id, run_key, case_key, artifact_key, CASE WHEN expires_at IS NULL THEN path END AS path FROM artifacts
    WHERE run_key >= :first_key AND run_key < :before_key
          AND (org_id, run_key, case_key, artifact_key) > (:after_org, :after_run, :after_case, :after_artifact)
    ORDER BY org_id, run_key, case_key, artifact_key LIMIT :limit
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY org_id, run_key, case_key, artifact_key) AS position, count(*) OVER () AS total
    FROM examined
)
SELECT org_id, run_key, case_key, artifact_key, path FROM numbered
WHERE path IS NOT NULL OR position = total ORDER BY position

-- name: notify(channel, payload)  (listeners then query the tables)
SELECT pg_notify(:channel, :payload)

-- name: page_by_id  (newest first, because an ID begins with its time; `next` is the last ID of a page with more rows after it)
SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
       CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
FROM (
    SELECT item, id, row_no, row_no <= :page::int
           AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < {page_bytes} AS fits
    FROM (
        SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
        FROM (
            {listed}
        ) listed
    ) numbered
) sized
