-- name: list_partition_months  (from $1 and before $2)
SELECT DISTINCT to_date(name.month, 'YYYY_MM') AS month
FROM pg_inherits JOIN pg_class partition ON partition.oid = inhrelid
CROSS JOIN LATERAL (SELECT substring(partition.relname FROM '_([0-9]{4}_[0-9]{2})') AS month) name
WHERE inhparent IN ('public.results'::regclass, 'public.result_details'::regclass, 'public.shard_results'::regclass,
                    'public.artifacts'::regclass)
      AND name.month >= to_char($1::date, 'YYYY_MM') AND name.month < to_char($2::date, 'YYYY_MM')
ORDER BY month

-- name: list_run_months  (months before $2 with a run that isn't pinned)
SELECT month::date AS month
FROM (SELECT completed_at FROM runs WHERE org_id = $1 AND NOT pinned ORDER BY run_key LIMIT 1) oldest
CROSS JOIN generate_series(date_trunc('month', oldest.completed_at AT TIME ZONE 'UTC'),
                           $2::date - interval '1 month', interval '1 month') month
WHERE EXISTS (
    SELECT FROM runs
    WHERE org_id = $1 AND NOT pinned AND run_key >= first_run_key(month AT TIME ZONE 'UTC')
          AND run_key < first_run_key((month + interval '1 month') AT TIME ZONE 'UTC')
)

-- name: delete_minutes  (in the ranges $2, among the next $5 rows of an organization; returns the last examined row)
-- Examines all rows of the organization, because no index starts with the minute: each row only once, and in the index.
WITH reached AS MATERIALIZED (
    SELECT fingerprint, minute FROM (
        SELECT fingerprint, minute FROM failure_group_minutes
        WHERE org_id = $1 AND (fingerprint, minute) > ($3, $4) ORDER BY fingerprint, minute LIMIT $5
    ) examined
    ORDER BY fingerprint DESC, minute DESC LIMIT 1
), deleted AS (
    DELETE FROM failure_group_minutes
    WHERE org_id = $1 AND (fingerprint, minute) > ($3, $4)
          AND (fingerprint, minute) <= ((SELECT fingerprint FROM reached), (SELECT minute FROM reached))
          AND minute <@ $2::int4multirange
)
SELECT fingerprint, minute FROM reached

-- name: observe_months  (records that the months $2 of the class $1 are expired, and returns the time since the first record)
-- Counts at most $3 since the previous observation. Deletes the months that are within the retention again.
WITH retained AS (
    DELETE FROM expiring_months WHERE class = $1 AND month <> ALL ($2::date[])
)
INSERT INTO expiring_months AS known (class, month) SELECT $1, unnest($2::date[])
ON CONFLICT (class, month) DO UPDATE
    SET waited = known.waited + least(greatest(now() - known.seen_at, '0'), $3::interval), seen_at = now()
RETURNING month, waited, xmax = 0 AS is_new

-- name: expire_runs  (at most $4 runs of an organization between two keys; returns the last examined key)
WITH reached AS (
    SELECT run_key FROM (
        SELECT run_key FROM runs WHERE org_id = $1 AND run_key > $2 AND run_key < $3 ORDER BY run_key LIMIT $4
    ) examined
    ORDER BY run_key DESC LIMIT 1
), expired AS (
    UPDATE runs SET results_expired = true
    WHERE org_id = $1 AND run_key > $2 AND run_key <= (SELECT run_key FROM reached) AND NOT results_expired AND NOT pinned
)
SELECT run_key FROM reached

-- name: find_pinned  (runs between two keys; without $4, only those that have results)
SELECT run_key FROM runs
WHERE org_id = $1 AND run_key > $2 AND run_key < $3 AND pinned AND ($4::bool OR NOT results_expired) ORDER BY run_key

-- name: delete_results  (at most $4 between two run keys)
WITH deleted AS (
    DELETE FROM results
    WHERE org_id = $1 AND run_key > $2 AND run_key < $3 AND ctid = ANY (ARRAY (
        SELECT ctid FROM results WHERE org_id = $1 AND run_key > $2 AND run_key < $3 LIMIT $4
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_details
WITH deleted AS (
    DELETE FROM result_details
    WHERE org_id = $1 AND run_key > $2 AND run_key < $3 AND ctid = ANY (ARRAY (
        SELECT ctid FROM result_details WHERE org_id = $1 AND run_key > $2 AND run_key < $3 LIMIT $4
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_shard_results
WITH deleted AS (
    DELETE FROM shard_results
    WHERE org_id = $1 AND run_key > $2 AND run_key < $3 AND ctid = ANY (ARRAY (
        SELECT ctid FROM shard_results WHERE org_id = $1 AND run_key > $2 AND run_key < $3 LIMIT $4
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_artifacts  (returns their files, which upkeep deletes; export files have their own expiration)
-- Locks the runs, so that a run that is pinned concurrently keeps its artifacts.
WITH examined AS MATERIALIZED (
    SELECT run_key, case_key, artifact_key FROM artifacts
    WHERE org_id = $1 AND run_key > $2 AND run_key < $3 ORDER BY run_key, case_key, artifact_key LIMIT $4
), locked AS MATERIALIZED (
    SELECT run_key, pinned AND NOT results_expired AS is_retained FROM runs
    WHERE org_id = $1 AND run_key IN (SELECT run_key FROM examined) FOR SHARE
)
DELETE FROM artifacts
WHERE org_id = $1 AND run_key > $2 AND run_key < $3
      AND EXISTS (
          SELECT 1 FROM examined
          WHERE examined.run_key = artifacts.run_key AND examined.case_key = artifacts.case_key
                AND examined.artifact_key = artifacts.artifact_key)
      AND run_key NOT IN (SELECT run_key FROM locked WHERE is_retained)
RETURNING CASE WHEN expires_at IS NULL THEN path END AS path

-- name: delete_runs  (and their parts)
WITH deleted AS (
    DELETE FROM runs
    WHERE org_id = $1 AND results_expired AND NOT pinned AND run_key = ANY (ARRAY (
        SELECT run_key FROM runs
        WHERE org_id = $1 AND run_key > $2 AND run_key < $3 AND results_expired AND NOT pinned
        ORDER BY run_key LIMIT $4 FOR UPDATE SKIP LOCKED
    ))
    RETURNING run_key
), deleted_parts AS (
    DELETE FROM run_parts WHERE org_id = $1 AND run_key IN (SELECT run_key FROM deleted)
)
SELECT count(*) FROM deleted

-- name: count_artifacts  (of the next $4 runs between two keys, by project; bytes include the files)
WITH examined AS MATERIALIZED (
    SELECT run_key, project_id FROM runs WHERE org_id = $1 AND run_key > $2 AND run_key < $3 ORDER BY run_key LIMIT $4
)
SELECT run.project_id, sum(found.rows)::bigint AS rows, sum(found.bytes)::bigint AS bytes,
       (SELECT run_key FROM examined ORDER BY run_key DESC LIMIT 1) AS reached
FROM examined run CROSS JOIN LATERAL (
    SELECT count(*) AS rows,
           sum(pg_column_size(item.*) + CASE WHEN path IS NULL OR byte_offset IS NOT NULL OR expires_at IS NOT NULL THEN 0 ELSE size END) AS bytes
    FROM artifacts item WHERE item.org_id = $1 AND item.run_key = run.run_key
) found
GROUP BY run.project_id

-- name: count_results  (and the details and shards)
WITH examined AS MATERIALIZED (
    SELECT run_key, project_id FROM runs WHERE org_id = $1 AND run_key > $2 AND run_key < $3 ORDER BY run_key LIMIT $4
)
SELECT run.project_id, sum(found.rows)::bigint AS rows, sum(found.bytes)::bigint AS bytes,
       (SELECT run_key FROM examined ORDER BY run_key DESC LIMIT 1) AS reached
FROM examined run CROSS JOIN LATERAL (
    SELECT count(*) AS rows, sum(pg_column_size(item.*)) AS bytes
    FROM results item WHERE item.org_id = $1 AND item.run_key = run.run_key
    UNION ALL
    SELECT count(*) AS rows, sum(pg_column_size(item.*)) AS bytes
    FROM result_details item WHERE item.org_id = $1 AND item.run_key = run.run_key
    UNION ALL
    SELECT count(*) AS rows, sum(pg_column_size(item.*)) AS bytes
    FROM shard_results item WHERE item.org_id = $1 AND item.run_key = run.run_key
) found
GROUP BY run.project_id

-- name: count_runs
WITH examined AS MATERIALIZED (
    SELECT run_key, project_id, pg_column_size(run.*) AS bytes FROM runs run
    WHERE run.org_id = $1 AND run_key > $2 AND run_key < $3 ORDER BY run_key LIMIT $4
)
SELECT project_id, count(*) AS rows, sum(bytes)::bigint AS bytes,
       (SELECT run_key FROM examined ORDER BY run_key DESC LIMIT 1) AS reached
FROM examined GROUP BY project_id
