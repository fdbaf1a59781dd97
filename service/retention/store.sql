-- Erasure of a person: where rows of an organization contain the name or email.

-- Erasure of an author: where rows of an organization contain the name, in steps of at most $3 or $4 rows.

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

-- name: read_clock
SELECT clock_timestamp()

-- name: terminate_stuck_writers  (suspended consumers with locks, because no timeout of PostgreSQL applies)
-- They are suspended in a COPY ($1), or between the preparation of a statement and its execution ($2). The driver
-- prepares without a Sync message, so that the transaction isn't idle.
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'results_worker' AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead'
  AND query_start < now() - CASE WHEN query ILIKE 'COPY %' THEN $1::interval ELSE $2::interval END

-- name: delete_receipts  (of all organizations, at most $3)
-- The ID contains the time of the first event; received_at is later if the receipt was reused. Unread reports stay.
WITH deleted AS (
    DELETE FROM receipts
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM receipts
            WHERE org_id = org.org_id AND receipt_id < $1 AND received_at < $2
                  AND status NOT IN ('queued', 'processing')
            ORDER BY receipt_id LIMIT $3 FOR UPDATE SKIP LOCKED
        ) old
        LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: find_position
SELECT after_path FROM listing_positions WHERE area = $1

-- name: set_position
INSERT INTO listing_positions (area, after_path) VALUES ($1, $2)
ON CONFLICT (area) DO UPDATE SET after_path = excluded.after_path

-- name: find_expired  (of all organizations: untrusted runs that were stored before $1)
SELECT org_id, run_id FROM runs WHERE NOT trusted AND created_at < $1 ORDER BY created_at, org_id, run_id LIMIT $2

-- name: lock  (no row if the run was promoted or deleted, or if another transaction changes it)
SELECT 1 FROM runs WHERE org_id = $1 AND run_id = $2 AND NOT trusted FOR UPDATE SKIP LOCKED

-- name: delete_cases
-- At most $3 hidden cases. A case expires later than all untrusted runs that contain it. If such a run still exists, because a
-- transaction locked it, all cases stay, because the run can be promoted.
WITH deleted AS (
    DELETE FROM cases
    WHERE org_id = $1 AND NOT trusted
          AND case_key = ANY (ARRAY (
              SELECT case_key FROM cases
              WHERE org_id = $1 AND NOT trusted AND expires_on < ($2::timestamptz AT TIME ZONE 'UTC')::date
              ORDER BY case_key LIMIT $3
          ))
          AND NOT EXISTS (SELECT FROM runs WHERE org_id = $1 AND NOT trusted AND created_at < $4)
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_run  (first, so that ingest of the same run waits)
DELETE FROM runs WHERE org_id = $1 AND run_id = $2 AND ($3::text IS NULL OR project_id = $3)
RETURNING run_key, project_id, trusted IS NOT FALSE AS trusted

-- name: delete_results_of_run
DELETE FROM results WHERE org_id = $1 AND run_key = $2

-- name: delete_details_of_run
DELETE FROM result_details WHERE org_id = $1 AND run_key = $2

-- name: delete_shard_results_of_run
DELETE FROM shard_results WHERE org_id = $1 AND run_key = $2

-- name: delete_parts
DELETE FROM run_parts WHERE org_id = $1 AND run_key = $2

-- name: expire_exports  (exports whose files are artifacts of the run)
UPDATE exports SET status = 'expired', path = NULL
WHERE org_id = $1 AND run_id = $3 AND path IN (SELECT path FROM artifacts WHERE org_id = $1 AND run_key = $2)

-- name: queue_folder  (of uploads that a killed process left in the folder of the run; $3: when no upload is in progress)
INSERT INTO file_deletions (org_id, path, due_at)
VALUES ($1, format('artifacts/%s/%s/', $1::int, replace($2::uuid::text, '-', '')), now() + $3)
ON CONFLICT DO NOTHING

-- name: delete_artifacts_of_run  (upkeep deletes their files, except $3, which belong to reports that are stored again)
WITH deleted AS (DELETE FROM artifacts WHERE org_id = $1 AND run_key = $2 RETURNING path)
INSERT INTO file_deletions (org_id, path) SELECT DISTINCT $1::int, path FROM deleted
WHERE path IS NOT NULL AND path <> ALL ($3::text[])
ON CONFLICT DO NOTHING

-- name: find_requested  (of all organizations, the oldest requests first)
SELECT org_id, project_id FROM projects WHERE deletion_requested_at IS NOT NULL
ORDER BY deletion_requested_at, org_id, project_id LIMIT $1

-- name: find_runs
SELECT run_id FROM runs WHERE org_id = $1 AND project_id = $2 ORDER BY run_key LIMIT $3

-- name: delete_cases_of_project
WITH deleted AS (
    DELETE FROM cases
    WHERE org_id = $1 AND case_key = ANY (ARRAY (
        SELECT case_key FROM cases WHERE org_id = $1 AND project_id = $2 ORDER BY suite_hash, case_key LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_quarantines
WITH deleted AS (
    DELETE FROM quarantines
    WHERE org_id = $1 AND quarantine_id = ANY (ARRAY (
        SELECT quarantine_id FROM quarantines WHERE org_id = $1 AND project_id = $2 ORDER BY quarantine_id LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_project  (unless a process of version 0.9.0, which doesn't lock projects, has stored a run meanwhile)
DELETE FROM projects
WHERE org_id = $1 AND project_id = $2 AND deletion_requested_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM runs WHERE org_id = $1 AND project_id = $2)
RETURNING project_id

-- name: count_deletion  (the processes that store runs no longer know the deleted cases)
UPDATE organizations SET deleted_projects = deleted_projects + 1 WHERE org_id = $1

-- name: queue
INSERT INTO file_deletions (org_id, path) SELECT $1::int, path FROM unnest($2::text[]) path ON CONFLICT DO NOTHING

-- name: claim  (of all organizations, oldest first)
UPDATE file_deletions SET due_at = now() + $1
WHERE (org_id, path) IN (
    SELECT org_id, path FROM file_deletions WHERE due_at <= now() ORDER BY due_at LIMIT $2 FOR UPDATE SKIP LOCKED
)
RETURNING org_id, path

-- name: finish
DELETE FROM file_deletions d USING unnest($1::int[], $2::text[]) AS deleted (org_id, path)
WHERE d.org_id = deleted.org_id AND d.path = deleted.path

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

-- name: lock_organization  (waits for the transactions that insert rows of the organization, and blocks new ones)
SELECT FROM organizations WHERE org_id = $1 FOR UPDATE

-- name: delete
DELETE FROM organizations WHERE org_id = $1

-- name: prevent_deletion  (until the end of the transaction, as a foreign key does)
SELECT FROM organizations WHERE org_id = ANY ($1::int[]) ORDER BY org_id FOR KEY SHARE

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

-- name: find_in_receipts  (the next uploads, and whether they state the author)
SELECT receipt_id, coalesce(upload -> 'run' ->> 'author' = $2, false) AS is_found
FROM receipts WHERE org_id = $1 AND receipt_id > $3 ORDER BY receipt_id LIMIT $4

-- name: erase_in_receipts  (a worker that has read the name loses its claim, and another attempt reads the upload again)
UPDATE receipts
SET upload = upload #- '{run,author}',
    status = CASE WHEN status = 'processing' THEN 'queued' ELSE status END,
    due_at = CASE WHEN status = 'processing' THEN now() ELSE due_at END,
    attempt_count = CASE WHEN status = 'processing' THEN attempt_count - 1 ELSE attempt_count END,
    claim = NULL, lease_until = NULL
WHERE org_id = $1 AND receipt_id = ANY ($2::text[])

-- name: erase_in_runs  (an event from before the erasure doesn't restore the name; sorted by ID, like ingest locks runs)
UPDATE runs
SET author = NULL,
    field_versions = field_versions || jsonb_build_object('author', extract(epoch FROM now())::bigint)
FROM (
    SELECT run_key FROM runs WHERE org_id = $1 AND author = $2 ORDER BY run_id LIMIT $3 FOR UPDATE
) found
WHERE runs.org_id = $1 AND runs.run_key = found.run_key
RETURNING runs.project_id, runs.run_id

-- name: find_in_events_of_author  (the next events, and the data of those that state the author)
SELECT event_id, CASE WHEN data ->> 'author' = $2 THEN data::text END AS data
FROM events WHERE org_id = $1 AND event_id > $3 ORDER BY event_id LIMIT $4

-- name: replace_events
UPDATE events SET data = erased.data::json
FROM unnest($2::text[], $3::text[]) AS erased (event_id, data)
WHERE events.org_id = $1 AND events.event_id = erased.event_id

-- name: delete_responses_of_author  (stored for repeated requests)
DELETE FROM idempotency_keys
WHERE org_id = $1 AND position(convert_to('"author":' || to_json($2::text)::text, 'UTF8') IN body) > 0
