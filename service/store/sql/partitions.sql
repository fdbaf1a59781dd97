-- name: make_month
SELECT make_month($1::date)

-- name: find_months  (that ended before this one began and still have a partition, oldest first)
SELECT DISTINCT to_date(right(partition.relname, 7), 'YYYY_MM') AS month
FROM pg_inherits JOIN pg_class partition ON partition.oid = inhrelid
WHERE inhparent IN ('public.results'::regclass, 'public.result_details'::regclass, 'public.artifacts'::regclass)
      AND right(partition.relname, 7) < to_char($1::date, 'YYYY_MM')
ORDER BY month

-- name: find_step  (the statement that comes next in taking away the months up to this one, and what was begun of any)
-- A partition is detached in two transactions of the server's own; where it was cut off between them, FINALIZE does the
-- second. A comment tells what we have detached from what an operator has, which is theirs. The results go first, so that
-- nothing shows a result without what belongs to it.
SELECT CASE WHEN is_pending THEN format('ALTER TABLE public.%I DETACH PARTITION public.%I FINALIZE', parent, name)
            WHEN NOT is_ours THEN format('COMMENT ON TABLE public.%I IS %L', name, 'expired')
            WHEN is_attached THEN format('ALTER TABLE public.%I DETACH PARTITION public.%I CONCURRENTLY', parent, name)
            ELSE format('DROP TABLE public.%I', name) END AS statement
FROM (
    SELECT relname AS name, left(relname, -8) AS parent, right(relname, 7) AS month,
           inhrelid IS NOT NULL AS is_attached, coalesce(inhdetachpending, false) AS is_pending,
           coalesce(obj_description(pg_class.oid, 'pg_class') = 'expired', false) AS is_ours
    FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
          AND relname ~ '^(results|result_details|artifacts)_[0-9]{4}_[0-9]{2}$'
) partition
WHERE CASE WHEN is_attached THEN is_pending OR month <= to_char($1::date, 'YYYY_MM') ELSE is_ours END
ORDER BY is_attached AND NOT is_pending, month, array_position(ARRAY['results', 'result_details', 'artifacts'], parent)
LIMIT 1

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

-- name: find_files  (of all organizations: some that we keep for results between two keys, behind a place)
-- The file of an export lives as long as its export says.
SELECT org_id, run_key, case_key, artifact_key, path FROM artifacts
WHERE run_key >= $1 AND run_key < $2 AND (org_id, run_key, case_key, artifact_key) > ($3, $4, $5, $6)
      AND path IS NOT NULL AND expires_at IS NULL
ORDER BY org_id, run_key, case_key, artifact_key LIMIT $7
