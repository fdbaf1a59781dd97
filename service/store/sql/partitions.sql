-- name: create_month_partitions
SELECT create_month_partitions($1::date)

-- name: find_months  (that ended before this one began and still have a partition, oldest first)
SELECT DISTINCT to_date(right(partition.relname, 7), 'YYYY_MM') AS month
FROM pg_inherits JOIN pg_class partition ON partition.oid = inhrelid
WHERE inhparent IN ('public.results'::regclass, 'public.result_details'::regclass, 'public.artifacts'::regclass)
      AND right(partition.relname, 7) < to_char($1::date, 'YYYY_MM')
ORDER BY month

-- name: claim_dropping  (until the connection ends)
SELECT pg_try_advisory_lock(hashtext('drop_months'))

-- name: find_step  (the statement that comes next in taking away the months up to this one, and what was begun of any)
-- A partition is detached in two transactions of the server's own; where it was cut off between them, FINALIZE does the
-- second. A comment tells what we detach from what an operator does, which is theirs; on what is still attached it says
-- nothing, and is taken off. The results go first, so that nothing shows a result without what belongs to it.
SELECT name, NOT is_pending AND is_attached AND NOT is_ours AS detaches,
       CASE WHEN is_pending THEN format('ALTER TABLE public.%I DETACH PARTITION public.%I FINALIZE', parent, name)
            WHEN NOT is_attached THEN format('DROP TABLE public.%I', name)
            WHEN is_ours THEN format('COMMENT ON TABLE public.%I IS NULL', name)
            ELSE format('ALTER TABLE public.%I DETACH PARTITION public.%I CONCURRENTLY', parent, name) END AS statement
FROM (
    SELECT relname AS name, left(relname, -8) AS parent, right(relname, 7) AS month,
           inhrelid IS NOT NULL AS is_attached, coalesce(inhdetachpending, false) AS is_pending,
           coalesce(obj_description(pg_class.oid, 'pg_class') = 'expired', false) AS is_ours
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname ~ '^(results|result_details|artifacts)_[0-9]{4}_[0-9]{2}$'
) partition
WHERE is_ours OR is_pending OR is_attached AND month <= to_char($1::date, 'YYYY_MM')
ORDER BY is_attached AND NOT is_pending, month, array_position(ARRAY['results', 'result_details', 'artifacts'], parent)
LIMIT 1

-- name: find_mark  (the statement that marks a partition as ours)
-- It waits for the lock that the detaching needs before it marks, so that this follows at once.
SELECT format('LOCK TABLE ONLY public.%I IN SHARE UPDATE EXCLUSIVE MODE; COMMENT ON TABLE public.%I IS %L',
              left($1::text, -8), $1::text, 'expired')

-- name: find_unmark  (the statement that takes the mark off, unless the detaching has begun)
SELECT format('COMMENT ON TABLE public.%I IS NULL', $1::text)
WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(format('public.%I', $1::text)) AND inhdetachpending)

-- name: expire_runs  (of one organization, some between two keys; returns the last that was looked at)
WITH reached AS (
    SELECT run_key FROM (
        SELECT run_key FROM runs WHERE org_id = $1 AND run_key > $2 AND run_key < $3 ORDER BY run_key LIMIT $4
    ) looked_at
    ORDER BY run_key DESC LIMIT 1
), expired AS (
    UPDATE runs SET results_expired = true
    WHERE org_id = $1 AND run_key > $2 AND run_key <= (SELECT run_key FROM reached) AND NOT results_expired
)
SELECT run_key FROM reached

-- name: find_files  (of all organizations: what we keep for results between two keys, among so many behind a place)
-- The last that was looked at comes along, file or not, to go on behind. The file of an export lives as long as its export says.
WITH looked_at AS (
    SELECT org_id, run_key, case_key, artifact_key, CASE WHEN expires_at IS NULL THEN path END AS path FROM artifacts
    WHERE run_key >= $1 AND run_key < $2 AND (org_id, run_key, case_key, artifact_key) > ($3, $4, $5, $6)
    ORDER BY org_id, run_key, case_key, artifact_key LIMIT $7
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY org_id, run_key, case_key, artifact_key) AS nth, count(*) OVER () AS looks
    FROM looked_at
)
SELECT org_id, run_key, case_key, artifact_key, path FROM numbered
WHERE path IS NOT NULL OR nth = looks ORDER BY nth
