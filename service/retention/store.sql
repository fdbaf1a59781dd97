-- What retention deletes: expired rows of an organization in steps, one run, a project, an organization, a person, and an
-- author. The last two are erased where rows of an organization contain the name or email, in steps of at most :limit rows.

-- name: list_partition_months(first, before)  (from :first and before :before)
SELECT DISTINCT to_date(name.month, 'YYYY_MM') AS month
FROM pg_inherits JOIN pg_class partition ON partition.oid = inhrelid
CROSS JOIN LATERAL (SELECT substring(partition.relname FROM '_([0-9]{4}_[0-9]{2})') AS month) name
WHERE inhparent IN ('public.results'::regclass, 'public.result_details'::regclass, 'public.shard_results'::regclass,
                    'public.artifacts'::regclass)
      AND name.month >= to_char(:first::date, 'YYYY_MM') AND name.month < to_char(:before::date, 'YYYY_MM')
ORDER BY month

-- name: list_run_months(org_id, before)  (months before :before with a run that isn't pinned)
SELECT month::date AS month
FROM (SELECT completed_at FROM runs WHERE org_id = :org_id AND NOT pinned ORDER BY run_key LIMIT 1) oldest
CROSS JOIN generate_series(date_trunc('month', oldest.completed_at AT TIME ZONE 'UTC'),
                           :before::date - interval '1 month', interval '1 month') month
WHERE EXISTS (
    SELECT FROM runs
    WHERE org_id = :org_id AND NOT pinned AND run_key >= first_run_key(month AT TIME ZONE 'UTC')
          AND run_key < first_run_key((month + interval '1 month') AT TIME ZONE 'UTC')
)

-- name: delete_minutes(org_id, ranges, after_fingerprint, after_minute, limit)
--     (in the ranges, among the next :limit rows of an organization; returns the last examined row)
-- Examines all rows of the organization, because no index starts with the minute: each row only once, and in the index.
WITH reached AS MATERIALIZED (
    SELECT fingerprint, minute FROM (
        SELECT fingerprint, minute FROM failure_group_minutes
        WHERE org_id = :org_id AND (fingerprint, minute) > (:after_fingerprint, :after_minute)
        ORDER BY fingerprint, minute LIMIT :limit
    ) examined
    ORDER BY fingerprint DESC, minute DESC LIMIT 1
), deleted AS (
    DELETE FROM failure_group_minutes
    WHERE org_id = :org_id AND (fingerprint, minute) > (:after_fingerprint, :after_minute)
          AND (fingerprint, minute) <= ((SELECT fingerprint FROM reached), (SELECT minute FROM reached))
          AND minute <@ :ranges::int4multirange
)
SELECT fingerprint, minute FROM reached

-- name: observe_months(class, months, max_step)
--     (records that the months of the class are expired, and returns the time since the first record)
-- Counts at most :max_step since the previous observation. Deletes the months that are within the retention again.
WITH retained AS (
    DELETE FROM expiring_months WHERE class = :class AND month <> ALL (:months::date[])
)
INSERT INTO expiring_months AS known (class, month) SELECT :class, unnest(:months::date[])
ON CONFLICT (class, month) DO UPDATE
    SET waited = known.waited + least(greatest(now() - known.seen_at, '0'), :max_step::interval), seen_at = now()
RETURNING month, waited, xmax = 0 AS is_new

-- name: expire_runs(org_id, after, before, limit)
--     (at most :limit runs of an organization between two keys; returns the last examined key, and whether a run changed)
WITH reached AS (
    SELECT run_key FROM (
        SELECT run_key FROM runs WHERE {is_in_key_range} ORDER BY run_key LIMIT :limit
    ) examined
    ORDER BY run_key DESC LIMIT 1
), expired AS (
    UPDATE runs SET results_expired = true
    WHERE org_id = :org_id AND run_key > :after AND run_key <= (SELECT run_key FROM reached)
          AND NOT results_expired AND NOT pinned
    RETURNING 1
)
SELECT run_key, EXISTS (SELECT FROM expired) AS has_expired FROM reached

-- name: find_pinned(org_id, after, before, includes_expired)
--     (runs between two keys; without :includes_expired, only those that have results)
SELECT run_key FROM runs
WHERE {is_in_key_range} AND pinned AND (:includes_expired::bool
    OR NOT results_expired) ORDER BY run_key

-- name: delete_results(org_id, after, before, limit)  (at most :limit between two run keys)
WITH deleted AS (
    DELETE FROM results
    WHERE {is_in_key_range} AND ctid = ANY (ARRAY (
        SELECT ctid FROM results WHERE {is_in_key_range} LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_details(org_id, after, before, limit)
WITH deleted AS (
    DELETE FROM result_details
    WHERE {is_in_key_range} AND ctid = ANY (ARRAY (
        SELECT ctid FROM result_details WHERE {is_in_key_range} LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_shard_results(org_id, after, before, limit)
WITH deleted AS (
    DELETE FROM shard_results
    WHERE {is_in_key_range} AND ctid = ANY (ARRAY (
        SELECT ctid FROM shard_results WHERE {is_in_key_range} LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_artifacts(org_id, after, before, limit)
--     (returns their files, which upkeep deletes; export files have their own expiration)
-- Locks the runs, so that a run that is pinned concurrently keeps its artifacts.
WITH examined AS MATERIALIZED (
    SELECT run_key, case_key, artifact_key FROM artifacts
    WHERE {is_in_key_range} ORDER BY run_key, case_key, artifact_key LIMIT :limit
), locked AS MATERIALIZED (
    SELECT run_key, pinned AND NOT results_expired AS is_retained FROM runs
    WHERE org_id = :org_id AND run_key IN (SELECT run_key FROM examined) FOR SHARE
)
DELETE FROM artifacts
WHERE {is_in_key_range}
      AND EXISTS (
          SELECT 1 FROM examined
          WHERE examined.run_key = artifacts.run_key AND examined.case_key = artifacts.case_key
                AND examined.artifact_key = artifacts.artifact_key)
      AND run_key NOT IN (SELECT run_key FROM locked WHERE is_retained)
RETURNING CASE WHEN expires_at IS NULL THEN path END AS path

-- name: delete_runs(org_id, after, before, limit)  (and their parts)
WITH deleted AS (
    DELETE FROM runs
    WHERE org_id = :org_id AND results_expired AND NOT pinned AND run_key = ANY (ARRAY (
        SELECT run_key FROM runs
        WHERE {is_in_key_range} AND results_expired AND NOT pinned
        ORDER BY run_key LIMIT :limit FOR UPDATE SKIP LOCKED
    ))
    RETURNING run_key
), deleted_parts AS (
    DELETE FROM run_parts WHERE org_id = :org_id AND run_key IN (SELECT run_key FROM deleted)
)
SELECT count(*) FROM deleted

-- name: count_artifacts(org_id, after, before, limit)
--     (of the next :limit runs between two keys, by project; bytes include the files)
WITH examined AS MATERIALIZED (
    SELECT run_key, project_id FROM runs WHERE {is_in_key_range}
        ORDER BY run_key LIMIT :limit
)
SELECT run.project_id, sum(found.rows)::bigint AS rows, sum(found.bytes)::bigint AS bytes,
       (SELECT run_key FROM examined ORDER BY run_key DESC LIMIT 1) AS reached
FROM examined run CROSS JOIN LATERAL (
    SELECT count(*) AS rows,
           sum(pg_column_size(item.*)
               + CASE WHEN path IS NULL OR byte_offset IS NOT NULL OR expires_at IS NOT NULL THEN 0 ELSE size END) AS bytes
    FROM artifacts item WHERE item.org_id = :org_id AND item.run_key = run.run_key
) found
GROUP BY run.project_id

-- name: count_results(org_id, after, before, limit)  (and the details and shards)
WITH examined AS MATERIALIZED (
    SELECT run_key, project_id FROM runs WHERE {is_in_key_range}
        ORDER BY run_key LIMIT :limit
)
SELECT run.project_id, sum(found.rows)::bigint AS rows, sum(found.bytes)::bigint AS bytes,
       (SELECT run_key FROM examined ORDER BY run_key DESC LIMIT 1) AS reached
FROM examined run CROSS JOIN LATERAL (
    SELECT count(*) AS rows, sum(pg_column_size(item.*)) AS bytes
    FROM results item WHERE item.org_id = :org_id AND item.run_key = run.run_key
    UNION ALL
    SELECT count(*) AS rows, sum(pg_column_size(item.*)) AS bytes
    FROM result_details item WHERE item.org_id = :org_id AND item.run_key = run.run_key
    UNION ALL
    SELECT count(*) AS rows, sum(pg_column_size(item.*)) AS bytes
    FROM shard_results item WHERE item.org_id = :org_id AND item.run_key = run.run_key
) found
GROUP BY run.project_id

-- name: count_runs(org_id, after, before, limit)
WITH examined AS MATERIALIZED (
    SELECT run_key, project_id, pg_column_size(run.*) AS bytes FROM runs run
    WHERE run.{is_in_key_range} ORDER BY run_key LIMIT :limit
)
SELECT project_id, count(*) AS rows, sum(bytes)::bigint AS bytes,
       (SELECT run_key FROM examined ORDER BY run_key DESC LIMIT 1) AS reached
FROM examined GROUP BY project_id

-- name: read_clock()
SELECT clock_timestamp()

-- name: terminate_stuck_writers(copying, prepared)  (suspended consumers with locks, because no timeout of PostgreSQL applies)
-- They are suspended in a COPY (:copying), or between the preparation of a statement and its execution (:prepared). The driver
-- prepares without a Sync message, so that the transaction isn't idle.
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'results_worker' AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead'
  AND query_start < now() - CASE WHEN query ILIKE 'COPY %' THEN :copying::interval ELSE :prepared::interval END

-- name: delete_receipts(oldest_retained, before, limit)  (of all organizations, at most :limit)
-- The ID contains the time of the first event; received_at is later if the receipt was reused. Unread reports stay.
WITH deleted AS (
    DELETE FROM receipts
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM receipts
            WHERE org_id = org.org_id AND receipt_id < :oldest_retained AND received_at < :before
                  AND status NOT IN ('queued', 'processing')
            ORDER BY receipt_id LIMIT :limit FOR UPDATE SKIP LOCKED
        ) old
        LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: find_position(area)
SELECT after_path FROM listing_positions WHERE area = :area

-- name: set_position(area, after_path)
INSERT INTO listing_positions (area, after_path) VALUES (:area, :after_path)
ON CONFLICT (area) DO UPDATE SET after_path = excluded.after_path

-- name: find_expired(before, limit)  (of all organizations: untrusted runs that were stored before :before)
SELECT org_id, run_id FROM runs WHERE NOT trusted AND created_at < :before ORDER BY created_at, org_id, run_id LIMIT :limit

-- name: lock(org_id, run_id)  (no row if the run was promoted or deleted, or if another transaction changes it)
SELECT 1 FROM runs WHERE org_id = :org_id AND run_id = :run_id AND NOT trusted FOR UPDATE SKIP LOCKED

-- name: delete_cases(org_id, now, limit, runs_before)
-- At most :limit hidden cases. A case expires later than all untrusted runs that contain it. If such a run still exists,
-- because a transaction locked it, all cases stay, because the run can be promoted.
WITH deleted AS (
    DELETE FROM cases
    WHERE org_id = :org_id AND NOT trusted
          AND case_key = ANY (ARRAY (
              SELECT case_key FROM cases
              WHERE org_id = :org_id AND NOT trusted AND expires_on < (:now::timestamptz AT TIME ZONE 'UTC')::date
              ORDER BY case_key LIMIT :limit
          ))
          AND NOT EXISTS (SELECT FROM runs WHERE org_id = :org_id AND NOT trusted AND created_at < :runs_before)
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_run(org_id, run_id, project_id)  (first, so that ingest of the same run waits)
DELETE FROM runs WHERE org_id = :org_id AND run_id = :run_id AND {is_of_project}
RETURNING run_key, project_id, trusted IS NOT FALSE AS trusted, results_expired

-- name: delete_results_of_run(org_id, run_key)
DELETE FROM results WHERE org_id = :org_id AND run_key = :run_key

-- name: delete_details_of_run(org_id, run_key)
DELETE FROM result_details WHERE org_id = :org_id AND run_key = :run_key

-- name: delete_shard_results_of_run(org_id, run_key)
DELETE FROM shard_results WHERE org_id = :org_id AND run_key = :run_key

-- name: delete_parts(org_id, run_key)
DELETE FROM run_parts WHERE org_id = :org_id AND run_key = :run_key

-- name: expire_exports(org_id, run_key, run_id)  (exports whose files are artifacts of the run)
UPDATE exports SET status = 'expired', path = NULL
WHERE org_id = :org_id AND run_id = :run_id
      AND path IN (SELECT path FROM artifacts WHERE org_id = :org_id AND run_key = :run_key)

-- name: queue_folder(org_id, run_key, delay)
--     (of uploads that a killed process left in the folder of the run; :delay: when no upload is in progress)
INSERT INTO file_deletions (org_id, path, due_at)
VALUES (:org_id, format('artifacts/%s/%s/', :org_id::int, replace(:run_key::uuid::text, '-', '')), now() + :delay)
ON CONFLICT DO NOTHING

-- name: delete_artifacts_of_run(org_id, run_key, kept_files)
--     (upkeep deletes their files, except :kept_files, which belong to reports that are stored again)
WITH deleted AS (DELETE FROM artifacts WHERE org_id = :org_id AND run_key = :run_key RETURNING path)
INSERT INTO file_deletions (org_id, path) SELECT DISTINCT :org_id::int, path FROM deleted
WHERE path IS NOT NULL AND path <> ALL (:kept_files::text[])
ON CONFLICT DO NOTHING

-- name: find_requested(limit)  (of all organizations, the oldest requests first)
SELECT org_id, project_id FROM projects WHERE deletion_requested_at IS NOT NULL
ORDER BY deletion_requested_at, org_id, project_id LIMIT :limit

-- name: find_runs(org_id, project_id, limit)
SELECT run_id FROM runs WHERE org_id = :org_id AND project_id = :project_id ORDER BY run_key LIMIT :limit

-- name: delete_cases_of_project(org_id, project_id, limit)
WITH deleted AS (
    DELETE FROM cases
    WHERE org_id = :org_id AND case_key = ANY (ARRAY (
        SELECT case_key FROM cases WHERE org_id = :org_id AND project_id = :project_id
        ORDER BY suite_hash, case_key LIMIT :limit
    ))
    RETURNING case_key
), owners AS (
    DELETE FROM case_owners WHERE org_id = :org_id AND case_key IN (SELECT case_key FROM deleted)
)
SELECT count(*) FROM deleted

-- name: delete_quarantines(org_id, project_id, limit)
WITH deleted AS (
    DELETE FROM quarantines
    WHERE org_id = :org_id AND quarantine_id = ANY (ARRAY (
        SELECT quarantine_id FROM quarantines WHERE org_id = :org_id AND project_id = :project_id
        ORDER BY quarantine_id LIMIT :limit
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_project(org_id, project_id)
--     (unless a process of version 0.9.0, which doesn't lock projects, has stored a run meanwhile; with its digests)
WITH deleted_digests AS (DELETE FROM digests WHERE org_id = :org_id AND project_id = :project_id)
DELETE FROM projects
WHERE org_id = :org_id AND project_id = :project_id AND deletion_requested_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM runs WHERE org_id = :org_id AND project_id = :project_id)
RETURNING project_id

-- name: count_deletion(org_id)  (the processes that store runs no longer know the deleted cases)
UPDATE organizations SET deleted_projects = deleted_projects + 1 WHERE org_id = :org_id

-- name: queue(org_id, paths)
INSERT INTO file_deletions (org_id, path) SELECT :org_id::int, path FROM unnest(:paths::text[]) path ON CONFLICT DO NOTHING

-- name: lease(duration, limit)  (of all organizations, oldest first)
UPDATE file_deletions SET due_at = now() + :duration
WHERE (org_id, path) IN (
    SELECT org_id, path FROM file_deletions WHERE due_at <= now() ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING org_id, path

-- name: finish(org_ids, paths)
DELETE FROM file_deletions d USING unnest(:org_ids::int[], :paths::text[]) AS deleted (org_id, path)
WHERE d.org_id = deleted.org_id AND d.path = deleted.path

-- name: close(org_id, suffix)  (events and keys no longer find the organization)
UPDATE organizations SET slug = slug || :suffix WHERE org_id = :org_id AND NOT starts_with(reverse(slug), reverse(:suffix))

-- name: delete_keys(org_id)
DELETE FROM api_keys WHERE org_id = :org_id

-- name: delete_publishers(org_id)
DELETE FROM publishers WHERE org_id = :org_id

-- name: delete_members(org_id)  (which ends the sessions of people)
DELETE FROM members WHERE org_id = :org_id

-- name: find_statements(limit, of_partitions)
--     (one per table with an org_id: deletes at most :limit rows of an organization, and returns their number)
-- Includes tables that are added later. Tables that others reference are last. With :of_partitions, the partitions, also
-- detached ones.
SELECT format('WITH deleted AS (DELETE FROM public.%1$I WHERE org_id = $1 AND ctid = ANY (ARRAY ('
              'SELECT ctid FROM public.%1$I WHERE org_id = $1 LIMIT %2$s)) RETURNING 1) SELECT count(*) FROM deleted',
              relname, :limit::int) AS statement
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'org_id' AND NOT attisdropped
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'organizations'
      AND (relowner = 'results_owner'::regrole) = :of_partitions
ORDER BY EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = pg_class.oid), relname

-- name: lock_organization(org_id)  (waits for the transactions that insert rows of the organization, and blocks new ones)
SELECT FROM organizations WHERE org_id = :org_id FOR UPDATE

-- name: delete(org_id)
DELETE FROM organizations WHERE org_id = :org_id

-- name: prevent_deletion(org_ids)  (until the end of the transaction, as a foreign key does)
SELECT FROM organizations WHERE org_id = ANY (:org_ids::int[]) ORDER BY org_id FOR KEY SHARE

-- name: take_snapshot(org_id)
SELECT 1 FROM runs WHERE org_id = :org_id LIMIT 1

-- name: find_queries(org_id, excluded_columns)
--     (one per table with an org_id: the rows of the organization :org_id as JSON, for COPY)
-- Includes tables that are added later, and excludes :excluded_columns (table.column). A detached partition is expired. A line
-- break in a value of the type json is insignificant.
SELECT relname AS table,
       format('SELECT replace(row_to_json(row)::text, E''\n'', '' '') FROM (SELECT %s FROM public.%I WHERE org_id = %s) row',
              string_agg(quote_ident(attname), ', ' ORDER BY attnum), relname, :org_id::int) AS query
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relname || '.' || attname <> ALL (:excluded_columns::text[])
      AND (relkind = 'p' OR relkind = 'r' AND NOT relispartition AND relowner <> 'results_owner'::regrole)
      AND EXISTS (SELECT FROM pg_attribute key WHERE key.attrelid = pg_class.oid AND key.attname = 'org_id'
                  AND NOT key.attisdropped)
GROUP BY relname ORDER BY relname

-- name: find_ids(org_id, email)  (of the people with this email, now or when they signed in first)
SELECT person_id FROM people WHERE org_id = :org_id AND email = :email
UNION SELECT person_id FROM members WHERE org_id = :org_id AND email = :email AND person_id IS NOT NULL
ORDER BY person_id

-- name: find_emails(org_id, person_ids)  (of people)
SELECT email FROM people WHERE org_id = :org_id AND person_id = ANY (:person_ids::text[]) AND email IS NOT NULL
UNION SELECT email FROM members WHERE org_id = :org_id AND person_id = ANY (:person_ids::text[]) AND email IS NOT NULL

-- name: erase_members(org_id, person_ids, emails)
--     (also those that were removed before; another person can have the same email now)
UPDATE members SET email = NULL, removed_at = coalesce(removed_at, now())
WHERE org_id = :org_id AND email IS NOT NULL
      AND (person_id = ANY (:person_ids::text[]) OR person_id IS NULL AND email = ANY (:emails::text[]))
RETURNING member_id

-- name: delete_people(org_id, person_ids)
DELETE FROM people WHERE org_id = :org_id AND person_id = ANY (:person_ids::text[]) RETURNING person_id

-- name: find_in_events(org_id, person_ids, after, limit)
--     (the next events, and the data of those about what the people created)
SELECT event_id, CASE WHEN data ->> 'created_by' = ANY (:person_ids::text[]) THEN data::text END AS data
FROM events WHERE org_id = :org_id AND event_id > :after ORDER BY event_id LIMIT :limit

-- name: delete_responses(org_id, texts)  (stored for repeated requests, with the texts)
DELETE FROM idempotency_keys WHERE org_id = :org_id AND EXISTS (
    SELECT FROM unnest(:texts::text[]) AS stated (text)
    WHERE position(convert_to(to_json(stated.text)::text, 'UTF8') IN body) > 0
)

-- name: find_in_receipts(org_id, author, after, limit)  (the next uploads, and whether they state the author)
SELECT receipt_id, coalesce(upload -> 'run' ->> 'author' = :author, false) AS is_found
FROM receipts WHERE org_id = :org_id AND receipt_id > :after ORDER BY receipt_id LIMIT :limit

-- name: erase_in_receipts(org_id, receipt_ids)
--     (a worker that has read the name loses its lease, and another attempt reads the upload again)
UPDATE receipts
SET upload = upload #- '{run,author}',
    status = CASE WHEN status = 'processing' THEN 'queued' ELSE status END,
    due_at = CASE WHEN status = 'processing' THEN now() ELSE due_at END,
    attempt_count = CASE WHEN status = 'processing' THEN attempt_count - 1 ELSE attempt_count END,
    claim = NULL, lease_until = NULL
WHERE org_id = :org_id AND receipt_id = ANY (:receipt_ids::text[])

-- name: erase_in_runs(org_id, author, limit)
--     (an event from before the erasure doesn't restore the name; sorted by ID, like ingest locks runs)
UPDATE runs
SET author = NULL,
    field_versions = field_versions || jsonb_build_object('author', extract(epoch FROM now())::bigint)
FROM (
    SELECT run_key FROM runs WHERE org_id = :org_id AND author = :author ORDER BY run_id LIMIT :limit FOR UPDATE
) found
WHERE runs.org_id = :org_id AND runs.run_key = found.run_key
RETURNING runs.project_id, runs.run_id

-- name: find_in_events_of_author(org_id, author, after, limit)  (the next events, and the data of those that state the author)
SELECT event_id, CASE WHEN data ->> 'author' = :author THEN data::text END AS data
FROM events WHERE org_id = :org_id AND event_id > :after ORDER BY event_id LIMIT :limit

-- name: replace_events(org_id, event_ids, data)
UPDATE events SET data = erased.data::json
FROM unnest(:event_ids::text[], :data::text[]) AS erased (event_id, data)
WHERE events.org_id = :org_id AND events.event_id = erased.event_id

-- name: delete_responses_of_author(org_id, author)  (stored for repeated requests)
DELETE FROM idempotency_keys
WHERE org_id = :org_id AND position(convert_to('"author":' || to_json(:author::text)::text, 'UTF8') IN body) > 0

-- name: is_in_key_range  (rows of an organization between two run keys)
org_id = :org_id AND run_key > :after AND run_key < :before
