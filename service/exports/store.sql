-- Exports, the fragments of the row query of an export, and the JSON of exports.
--
-- OFFSET 0 prevents the planner from merging the subqueries into one join. Each value is therefore computed once per run,
-- or once per case in a Memoize node, and the rows are in key order.

-- name: quote(values)  (COPY accepts no parameters)
SELECT array_agg(quote_nullable(value) ORDER BY position)
FROM unnest(:values::text[]) WITH ORDINALITY AS given (value, position)

-- name: find_position(org_id)  (the position after the last numbered event, or the number of the last deleted one)
SELECT coalesce(
    (SELECT event_id || '_' || number FROM events WHERE org_id = :org_id AND number IS NOT NULL ORDER BY number DESC LIMIT 1),
    last_pruned_event_number::text
) AS position, last_pruned_event_number AS deleted_to
FROM organizations WHERE org_id = :org_id

-- name: find_cases(org_id, case_id, project_id)  (all cases with the producer's ID)
SELECT case_key FROM cases WHERE org_id = :org_id AND case_id = :case_id AND {is_of_project}

-- name: insert(org_id, export_id, request, project_id, run_id, trace_context)
INSERT INTO exports (org_id, export_id, request, project_id, run_id, trace_context)
VALUES (:org_id, :export_id, :request, :project_id, :run_id, :trace_context)

-- name: lock_leases()  (without the lock, two workers could both lease the last free slot of an organization)
-- If the queue was short at the last ANALYZE, the planner would read and sort all of its rows.
SELECT pg_advisory_xact_lock(hashtext('exports')), set_config('enable_seqscan', 'off', true),
       set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true)

-- name: lease(token, duration, max_running, max_attempts, takes_over)
--     (of all organizations: first the organization with the fewest running exports, then the oldest export)
-- With :takes_over, takes over an export whose lease has expired. :max_running is the limit per organization, :max_attempts the
-- limit of attempts. Reads only the oldest due export of each organization with open exports (a loose index scan), so that a long
-- queue costs nothing.
WITH RECURSIVE open_organizations AS (
    (SELECT org_id FROM exports WHERE status IN ('queued', 'running') ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT next.org_id FROM exports next
            WHERE next.status IN ('queued', 'running') AND next.org_id > previous.org_id ORDER BY next.org_id LIMIT 1)
    FROM open_organizations previous WHERE previous.org_id IS NOT NULL
), due AS (
    SELECT oldest.org_id, oldest.export_id
    FROM open_organizations org CROSS JOIN LATERAL (
        SELECT org_id, export_id FROM exports
        WHERE org_id = org.org_id AND status IN ('queued', 'running') AND status = 'queued' AND due_at <= now()
              AND attempt_count < :max_attempts
        ORDER BY export_id LIMIT 1
    ) oldest
    UNION ALL
    SELECT org_id, export_id FROM exports
    WHERE status = 'running' AND lease_until < now() AND attempt_count < :max_attempts AND :takes_over
), running AS (
    SELECT org_id, count(*) AS count FROM exports WHERE status = 'running' AND lease_until >= now() GROUP BY org_id
)
UPDATE exports SET status = 'running', claim = :token, lease_until = now() + :duration, attempt_count = attempt_count + 1,
                   started_at = now(), progress = NULL
WHERE (org_id, export_id) = (
    SELECT due.org_id, due.export_id FROM due LEFT JOIN running ON running.org_id = due.org_id
    WHERE coalesce(running.count, 0) < :max_running
    ORDER BY coalesce(running.count, 0), due.export_id
    LIMIT 1
)
RETURNING org_id, export_id, request, attempt_count, created_at, trace_context

-- name: has_lease  (the row whose lease has the token, which the column claim stores)
org_id = :org_id AND export_id = :export_id AND claim = :token AND status = 'running'

-- name: renew_lease(org_id, export_id, token, duration, progress)  (no row if the lease is lost or the export was canceled)
UPDATE exports SET lease_until = now() + :duration, progress = :progress::real
WHERE {has_lease}
RETURNING 1

-- name: succeed(org_id, export_id, token, rows, size, sha256, path, position, retention)
UPDATE exports SET status = 'succeeded', claim = NULL, lease_until = NULL, progress = 1, error = NULL, rows = :rows,
                   size = :size, sha256 = :sha256, path = :path, position = :position, finished_at = now(),
                   expires_at = now() + :retention
WHERE {has_lease}
RETURNING expires_at

-- name: retry(org_id, export_id, token, delay, error)
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, progress = NULL, due_at = now() + :delay, error = :error
WHERE {has_lease}

-- name: release(org_id, export_id, token, delay)  (the attempt doesn't count)
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, progress = NULL, attempt_count = attempt_count - 1,
                   due_at = now() + :delay
WHERE {has_lease}

-- name: release_unconfirmed(token)  (of any organization: the worker doesn't know which export it has leased, if any)
UPDATE exports SET status = 'queued', claim = NULL, lease_until = NULL, attempt_count = attempt_count - 1
WHERE claim = :token AND status = 'running'

-- name: fail(org_id, export_id, token, error)
UPDATE exports SET status = 'failed', claim = NULL, lease_until = NULL, error = :error, finished_at = now()
WHERE {has_lease}
RETURNING project_id, run_id

-- name: find_abandoned(max_attempts)  (of all organizations: the worker of the last attempt crashed)
SELECT org_id, export_id, claim FROM exports WHERE status = 'running' AND lease_until < now() AND attempt_count >= :max_attempts

-- name: cancel(org_id, export_id, project_id)
UPDATE exports SET status = 'canceled', claim = NULL, lease_until = NULL, finished_at = now()
WHERE org_id = :org_id AND export_id = :export_id AND status IN ('queued', 'running') AND {is_of_project}
RETURNING 1

-- name: find_file(org_id, export_id, project_id)
SELECT status, path, size, sha256, request, run_id, error, created_at FROM exports
WHERE org_id = :org_id AND export_id = :export_id AND {is_of_project}

-- name: find_finished(org_ids, export_ids)  (of the given exports of several organizations; includes deleted ones)
SELECT requested.org_id, requested.export_id FROM unnest(:org_ids::int[], :export_ids::text[]) AS requested (org_id, export_id)
LEFT JOIN exports e ON e.org_id = requested.org_id AND e.export_id = requested.export_id
WHERE e.status IS NULL OR e.status NOT IN ('queued', 'running')

-- name: delete(org_id, export_id)
DELETE FROM exports WHERE org_id = :org_id AND export_id = :export_id

-- name: find_orphaned_files(paths)  (of all organizations: files that belong to no export)
SELECT path FROM unnest(:paths::text[]) AS stored (path)
EXCEPT SELECT path FROM exports WHERE path = ANY (:paths)

-- name: find_expired()  (of all organizations)
SELECT org_id, export_id, path FROM exports WHERE path IS NOT NULL AND expires_at < now() ORDER BY expires_at LIMIT 100

-- name: expire(org_id, export_id)
UPDATE exports SET status = 'expired', path = NULL WHERE org_id = :org_id AND export_id = :export_id

-- name: insert_artifact(org_id, run_id, artifact_key, name, content_type, size, sha256, path, expires_at, project_id)
--     (belongs to the run of the filter, so each result of the run lists it; none if the run is unknown or isn't in the
--     project of the filter)
INSERT INTO artifacts (org_id, run_key, case_key, artifact_key, kind, name, content_type, size, sha256, path, expires_at)
SELECT org_id, run_key, 0, :artifact_key, 'export', :name, :content_type, :size, :sha256, :path, :expires_at
FROM runs WHERE org_id = :org_id AND run_id = :run_id AND NOT results_expired AND {is_of_project}
ON CONFLICT (org_id, run_key, case_key, artifact_key) DO UPDATE
    SET size = excluded.size, sha256 = excluded.sha256, path = excluded.path, expires_at = excluded.expires_at

-- name: delete_artifact(org_id, path, export_id)
DELETE FROM artifacts WHERE org_id = :org_id AND path = :path AND case_key = 0
    AND run_key = (SELECT run_key FROM runs WHERE org_id = :org_id AND run_id = (
        SELECT run_id FROM exports WHERE org_id = :org_id AND export_id = :export_id))

-- name: export_rows  (runs in list order, then the results of each run; a sort contains the rows of one run)
SELECT {columns}
FROM (
    {export_runs}
) run CROSS JOIN LATERAL (
    {export_facts}
) fact CROSS JOIN LATERAL (
    {export_cases}
) tested_case
ORDER BY {export_order}

-- name: export_order
run.run_key DESC, fact.case_key DESC

-- name: export_order_of_durations
-fact.duration_ms, fact.case_key

-- name: export_order_of_suites
(SELECT {names_of_case} FROM cases c WHERE c.org_id = :org_id::int AND c.case_key = fact.case_key), fact.case_key

-- name: export_json
SELECT row_to_json(item)::text FROM (
    {export_rows}
) item

-- name: export_rows_of_runs  (runs in list order, then deleted runs, at the end of the last range)
SELECT {columns}
FROM (
    {export_run_rows}
) run

-- name: export_json_of_runs
SELECT row_to_json(item)::text FROM (
    {export_rows_of_runs}
) item

-- name: export_run_rows
(SELECT false AS deleted, {export_run_texts}, r.labels, r.status, r.complete, r.failures_missing, r.passed, r.failed, r.error,
        r.skipped, r.canceled, r.flaky, r.revision, r.started_at, r.completed_at, r.last_completed_at, r.duration_ms,
        {export_run_context}
 FROM {export_source}
 WHERE {export_of_runs}
 ORDER BY r.run_key DESC)
UNION ALL
(SELECT true, spreadsheet_cell(gone.run_id, :raw::bool), spreadsheet_cell(gone.project_id, :raw::bool), NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        {each runs.CONTEXT_FIELDS: NULL}
 FROM (
    SELECT DISTINCT change.run_id, change.project_id FROM (
        {changes}
    ) change
    WHERE change.type = 'run.deleted' AND :first_run::uuid = :oldest_run::uuid
      AND :changed_after::bigint < 9223372036854775807 -- an export of all runs has no deleted runs
      AND (:project_id::text IS NULL OR change.project_id = :project_id::text)
 ) gone
 WHERE NOT EXISTS (  -- a run with the same ID that was stored later is a row of its own if it matches the filter
    SELECT 1 FROM runs r WHERE r.org_id = :org_id::int AND r.run_id = gone.run_id AND {is_trusted}
      AND (:project_id::text IS NULL OR r.project_id = :project_id::text)
      AND r.run_key BETWEEN :oldest_run::uuid AND :newest_run::uuid))

-- name: export_run_texts
spreadsheet_cell(r.run_id, :raw::bool) AS run_id, spreadsheet_cell(r.project_id, :raw::bool) AS project_id,
spreadsheet_cell(r.environment, :raw::bool) AS environment, spreadsheet_cell(r.branch, :raw::bool) AS branch,
spreadsheet_cell(r.base_branch, :raw::bool) AS base_branch, spreadsheet_cell(r.commit_sha, :raw::bool) AS commit_sha,
spreadsheet_cell(r.pull_request, :raw::bool) AS pull_request, spreadsheet_cell(r.ci_url, :raw::bool) AS ci_url

-- name: export_run_context
{each runs.CONTEXT_FIELDS: spreadsheet_cell(r.%, :raw::bool) AS %}

-- name: changes  (events without a number are newer than all numbered ones; each part has an index)
SELECT e.run_id, e.project_id, e.type FROM events e WHERE e.org_id = :org_id::int AND e.number > :changed_after::bigint
UNION ALL
SELECT e.run_id, e.project_id, e.type FROM events e WHERE e.org_id = :org_id::int AND e.number IS NULL

-- name: export_source
runs r

-- name: changed_run_keys  (of the runs with an event after a position; LIMIT 1 keeps the planner from joining complete tables)
SELECT changed_run.run_key FROM (
    SELECT DISTINCT change.run_id FROM (
        {changes}
    ) change
    WHERE change.run_id IS NOT NULL AND change.type LIKE 'run.%'
) changed CROSS JOIN LATERAL (
    SELECT run_key FROM runs WHERE runs.org_id = :org_id::int AND runs.run_id = changed.run_id LIMIT 1
) changed_run
WHERE changed_run.run_key BETWEEN :oldest_run::uuid AND :newest_run::uuid
ORDER BY changed_run.run_key

-- name: changed_runs  (by their keys, so that not each range reads the events)
(SELECT * FROM runs WHERE runs.org_id = :org_id::int AND runs.run_key = ANY (:changed_keys::uuid[])) r

-- name: export_runs
SELECT r.run_key, 'res_' || replace(r.run_key::text, '-', '') AS id_prefix, spreadsheet_cell(r.run_id, :raw::bool) AS run_id,
       spreadsheet_cell(r.project_id, :raw::bool) AS project_id, spreadsheet_cell(r.environment, :raw::bool) AS environment,
       spreadsheet_cell(r.branch, :raw::bool) AS branch, spreadsheet_cell(r.commit_sha, :raw::bool) AS commit_sha,
       spreadsheet_cell(r.ci_url, :raw::bool) AS ci_url, r.labels, r.labels::text AS labels_text, r.completed_at,
       rfc3339(r.completed_at) AS completed_text
FROM {export_source}
WHERE {export_of_runs}
ORDER BY r.run_key DESC OFFSET 0

-- name: export_of_runs
r.org_id = :org_id::int AND r.run_key BETWEEN :first_run::uuid AND :last_run::uuid AND {run_matches}
AND (:run_id::text IS NULL OR r.run_id = :run_id::text)
AND (:fingerprint::bigint IS NULL OR r.run_key = ANY (ARRAY(
    SELECT d.run_key
    FROM (
        SELECT {keys_of_minute} FROM (
            SELECT DISTINCT g.minute FROM failure_group_minutes g
            WHERE g.org_id = :org_id::int AND g.fingerprint = :fingerprint::bigint
              AND g.minute BETWEEN completion_minute(:first_run::uuid) AND completion_minute(:last_run::uuid)
        ) minute
        OFFSET 0
    ) minute CROSS JOIN {failing_statuses} CROSS JOIN LATERAL (
        SELECT d.run_key FROM result_details d
        WHERE d.org_id = :org_id::int AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = :fingerprint::bigint
          AND d.run_key BETWEEN :first_run::uuid AND :last_run::uuid
        OFFSET 0
    ) d)))

-- name: export_facts  (within a run, both tables are in key order; most results have no failure)
SELECT r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms,
       spreadsheet_cell(d.summary, :raw::bool) AS failure_summary, spreadsheet_cell(d.file, :raw::bool) AS file
FROM results r
LEFT JOIN result_details d ON d.org_id = :org_id::int AND d.run_key = run.run_key
                              AND d.case_key = r.case_key AND {is_shown_failure}
WHERE r.org_id = :org_id::int AND r.run_key = run.run_key
  AND r.case_key BETWEEN :first_case::bigint AND :last_case::bigint
  AND {row_filters}
  AND (:case_keys::bigint[] IS NULL OR r.case_key = ANY (:case_keys::bigint[]))
  AND (:fingerprint::bigint IS NULL OR d.fingerprint = :fingerprint::bigint)
ORDER BY r.case_key DESC OFFSET 0

-- name: export_cases
SELECT lpad(to_hex(c.case_key), 16, '0') AS hex, spreadsheet_cell(c.case_id, :raw::bool) AS case_id,
       c.variant, c.variant::text AS variant_text, c.owners,
       spreadsheet_cell(c.suite, :raw::bool) AS suite, spreadsheet_cell(c.name, :raw::bool) AS name, spreadsheet_cell(c.file, :raw::bool) AS file
FROM cases c
WHERE c.org_id = :org_id::int AND c.case_key = fact.case_key AND {case_filters}
OFFSET 0

-- name: export_id
run.id_prefix || tested_case.hex AS id

-- name: export_run_id
run.run_id

-- name: export_project_id
run.project_id

-- name: export_environment
run.environment

-- name: export_branch
run.branch

-- name: export_commit_sha
run.commit_sha

-- name: export_ci_url
run.ci_url

-- name: export_labels
run.labels

-- name: export_labels_text
run.labels_text AS labels

-- name: export_case
'case_' || tested_case.hex AS "case"

-- name: export_case_id
tested_case.case_id

-- name: export_variant
tested_case.variant

-- name: export_variant_text
tested_case.variant_text AS variant

-- name: export_suite
tested_case.suite

-- name: export_name
tested_case.name

-- name: export_file
coalesce(fact.file, tested_case.file) AS file

-- name: export_status
status_name(fact.status) AS status

-- name: export_flaky
fact.flaky

-- name: export_flaky_text
fact.flaky::text AS flaky

-- name: export_attempts
fact.attempts

-- name: export_duration_ms
known_duration(fact.duration_ms) AS duration_ms

-- name: export_started_at
{started_at} AS started_at

-- name: export_started_at_text
rfc3339({started_at}) AS started_at

-- name: export_completed_at
run.completed_at

-- name: export_completed_at_text
run.completed_text AS completed_at

-- name: export_failure_summary
fact.failure_summary

-- name: export_owners
tested_case.owners

-- name: export_owners_text
array_to_json(tested_case.owners)::text AS owners

-- name: export_run_deleted_text
run.deleted::text AS deleted

-- name: export_run_labels_text
run.labels::text AS labels

-- name: export_run_status
status_name(run.status) AS status

-- name: export_run_complete_text
run.complete::text AS complete

-- name: export_run_failures_missing_text
run.failures_missing::text AS failures_missing

-- name: export_run_started_at_text
rfc3339(run.started_at) AS started_at

-- name: export_run_completed_at_text
rfc3339(run.completed_at) AS completed_at

-- name: export_run_last_completed_at_text
rfc3339(run.last_completed_at) AS last_completed_at

-- name: export_ranges
--     (the start of each range of about :range_results results; a run counts as one more, which also bounds runs)
SELECT run_key, results, expected  -- total of all ranges; exact unless the filter selects cases
FROM (
    SELECT run_key, results, nth, lag(nth) OVER newest AS nth_before, sum(results) OVER ()::bigint AS expected
    FROM (
        SELECT run_key, results, (sum(results + 1) OVER (ORDER BY run_key DESC) - results) / :range_results::int AS nth
        FROM (SELECT r.run_key, {export_results} AS results FROM {export_source} WHERE {export_of_runs}) counted
    ) numbered
    WINDOW newest AS (ORDER BY run_key DESC)
) numbered
WHERE nth IS DISTINCT FROM nth_before OR results > :range_results::int
ORDER BY run_key DESC

-- name: export_results
{matching_results}

-- name: export_one_row
1

-- name: export_fields
e.export_id AS id, e.status, e.request->>'format' AS format, e.request->>'compression' AS compression,
coalesce(e.request->>'content', 'results') AS content, e.request->'columns' AS columns, e.request->'raw' AS raw,
e.request->'filter' AS filter, e.request->>'updated_since' AS updated_since, e.position, e.rows, e.size,
encode(e.sha256, 'hex') AS sha256, round(e.progress::numeric, 3) AS progress, e.error,
rfc3339(e.created_at) AS created_at, rfc3339(e.started_at) AS started_at, rfc3339(e.finished_at) AS finished_at,
rfc3339(e.expires_at) AS expires_at,
CASE WHEN e.status = 'succeeded' THEN :link_base::text || '/v1/results/export/' || e.export_id || '/file' END AS file_url

-- name: one_export
SELECT row_to_json(item)::text FROM (
    SELECT {export_fields} FROM exports e
    WHERE e.org_id = :org_id AND e.export_id = :export_id
      AND (:project_id::text IS NULL OR e.project_id = :project_id)
) item

-- name: listed_exports
SELECT {export_fields} FROM exports e
WHERE e.org_id = :org_id AND e.export_id < :before::text
  AND (:project_id::text IS NULL OR e.project_id = :project_id)
ORDER BY e.export_id DESC LIMIT :page::int + 1

-- name: started_at
known_start(run.completed_at, fact.started_offset_ms)
