-- $1 raw
-- $2 org_id
-- $3 changed_keys
-- $4 first_run
-- $5 last_run
-- $6 trusted
-- $7 project_id
-- $8 environment
-- $9 branch
-- $10 commit_sha
-- $11 pull_request
-- $12 pipeline
-- $13 author
-- $14 labels
-- $15 run_id
-- $16 fingerprint
-- $17 changed_after
-- $18 oldest_run
-- $19 newest_run

SELECT run.run_id, run.deleted::text AS deleted, run.project_id, run.environment, run.branch, run.base_branch, run.commit_sha, run.pull_request, run.ci_url, run.labels::text AS labels, status_name(run.status) AS status, run.complete::text AS complete, run.failures_missing::text AS failures_missing, run.passed, run.failed, run.error, run.skipped, run.canceled, run.flaky, run.revision, rfc3339(run.started_at) AS started_at, rfc3339(run.completed_at) AS completed_at, rfc3339(run.last_completed_at) AS last_completed_at, run.duration_ms, run.pipeline, run.title, run.author, run.workflow, run.job_url, run.repository_url
FROM (
    (SELECT false AS deleted, spreadsheet_cell(r.run_id, $1::bool) AS run_id, spreadsheet_cell(r.project_id, $1::bool) AS project_id,
    spreadsheet_cell(r.environment, $1::bool) AS environment, spreadsheet_cell(r.branch, $1::bool) AS branch,
    spreadsheet_cell(r.base_branch, $1::bool) AS base_branch, spreadsheet_cell(r.commit_sha, $1::bool) AS commit_sha,
    spreadsheet_cell(r.pull_request, $1::bool) AS pull_request, spreadsheet_cell(r.ci_url, $1::bool) AS ci_url, r.labels, r.status, r.complete, r.failures_missing, r.passed, r.failed, r.error,
            r.skipped, r.canceled, r.flaky, r.revision, r.started_at, r.completed_at, r.last_completed_at, r.duration_ms,
            spreadsheet_cell(r.pipeline, $1::bool) AS pipeline, spreadsheet_cell(r.title, $1::bool) AS title,
            spreadsheet_cell(r.author, $1::bool) AS author, spreadsheet_cell(r.workflow, $1::bool) AS workflow,
            spreadsheet_cell(r.job_url, $1::bool) AS job_url, spreadsheet_cell(r.repository_url, $1::bool) AS repository_url
     FROM (SELECT * FROM runs WHERE runs.org_id = $2::int AND runs.run_key = ANY ($3::uuid[])) r
     WHERE r.org_id = $2::int AND r.run_key BETWEEN $4::uuid AND $5::uuid AND ($6::bool IS NULL OR (r.trusted IS NOT FALSE) = $6::bool)
     AND ($7::text IS NULL OR r.project_id = $7) AND ($8::text IS NULL OR r.environment = $8)
     AND ($9::text IS NULL OR r.branch = $9)
     AND ($10::text IS NULL OR starts_with(r.commit_sha, $10))
     AND ($11::text IS NULL OR r.pull_request = $11)
     AND ($12::text IS NULL OR r.pipeline = $12) AND ($13::text IS NULL OR r.author = $13)
     AND ($14::text[] IS NULL OR r.labels @> ALL ((SELECT $14::text[]::jsonb[])::jsonb[]))
     AND ($15::text IS NULL OR r.run_id = $15::text)
     AND ($16::bigint IS NULL OR r.run_key = ANY (ARRAY(
         SELECT d.run_key
         FROM (
             SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                 SELECT DISTINCT g.minute FROM failure_group_minutes g
                 WHERE g.org_id = $2::int AND g.fingerprint = $16::bigint
                   AND g.minute BETWEEN completion_minute($4::uuid) AND completion_minute($5::uuid)
             ) minute
             OFFSET 0
         ) minute CROSS JOIN unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
             SELECT d.run_key FROM result_details d
             WHERE d.org_id = $2::int AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
               AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $16::bigint
               AND d.run_key BETWEEN $4::uuid AND $5::uuid
             OFFSET 0
         ) d)))
     ORDER BY r.run_key DESC)
    UNION ALL
    (SELECT true, spreadsheet_cell(gone.run_id, $1::bool), spreadsheet_cell(gone.project_id, $1::bool), NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
            NULL, NULL, NULL, NULL, NULL, NULL
     FROM (
        SELECT DISTINCT change.run_id, change.project_id FROM (
            SELECT e.run_id, e.project_id, e.type FROM events e WHERE e.org_id = $2::int AND e.number > $17::bigint
            UNION ALL
            SELECT e.run_id, e.project_id, e.type FROM events e WHERE e.org_id = $2::int AND e.number IS NULL
        ) change
        WHERE change.type = 'run.deleted' AND $4::uuid = $18::uuid
          AND $17::bigint < 9223372036854775807 -- an export of all runs has no deleted runs
          AND ($7::text IS NULL OR change.project_id = $7::text)
     ) gone
     WHERE NOT EXISTS (  -- a run with the same ID that was stored later is a row of its own if it matches the filter
        SELECT 1 FROM runs r WHERE r.org_id = $2::int AND r.run_id = gone.run_id AND (r.trusted IS NOT FALSE)
          AND ($7::text IS NULL OR r.project_id = $7::text)
          AND r.run_key BETWEEN $18::uuid AND $19::uuid))
) run;
