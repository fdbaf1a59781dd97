-- States of cases: the changes that states follow, the runs and results of histories, and the rows of unhealthy cases.

-- name: find_organizations()  (those that have events after their position, or whose histories must be compared)
SELECT org.org_id FROM organizations org LEFT JOIN state_positions position ON position.org_id = org.org_id
WHERE position.event_number IS NULL
   OR EXISTS (SELECT 1 FROM events e WHERE e.org_id = org.org_id AND e.number > position.event_number)

-- name: try_lock(org_id)  (so that one transaction at a time changes the states of an organization)
SELECT pg_try_advisory_xact_lock(hashtext('case_states'), :org_id::int)

-- name: find_position(org_id)
SELECT event_number, requests FROM state_positions WHERE org_id = :org_id

-- name: set_position(org_id, event_number, requests)  (unless a comparison was requested meanwhile)
INSERT INTO state_positions AS position (org_id, event_number, requests) VALUES (:org_id, :event_number, :requests)
ON CONFLICT (org_id) DO UPDATE SET event_number = excluded.event_number WHERE position.requests = excluded.requests

-- name: request_comparison(org_id)  (of all histories with the stored runs)
INSERT INTO state_positions AS position (org_id, requests) VALUES (:org_id, 1)
ON CONFLICT (org_id) DO UPDATE SET event_number = NULL, requests = position.requests + 1

-- name: find_changes(org_id, position, limit)  (the next events; without a run if it can't change a state)
SELECT number, project_id, CASE WHEN type LIKE 'run.%' THEN run_id END AS run_id, type = 'run.deleted' AS is_deletion
FROM events
WHERE org_id = :org_id AND number > :position ORDER BY number LIMIT :limit

-- name: history_run_fields
replace(r.run_key::text, '-', '') AS run_key, r.revision, r.commit_sha, r.passed + r.failed + r.error AS executed,
r.failed + r.error AS failed

-- name: find_runs(org_id, run_ids)  (and whether states follow from them)
SELECT {history_run_fields}, r.run_id, r.project_id, coalesce(r.environment, '') AS environment,
       r.branch = p.default_branch AND {is_trusted} AND {is_candidate} AS is_used
FROM runs r JOIN projects p ON p.org_id = :org_id AND p.project_id = r.project_id
WHERE r.org_id = :org_id AND r.run_id = ANY (:run_ids::text[])

-- name: window_of_histories  (a comparison of the environment with null would use no index)
SELECT {history_run_fields} FROM runs r
WHERE r.org_id = :org_id AND r.project_id = :project_id AND r.branch = :branch AND {is_trusted} AND {is_candidate}
      AND {environment}
ORDER BY r.run_key DESC LIMIT {window_runs}

-- name: in_environment
r.environment = :environment

-- name: without_environment
r.environment IS NULL

-- name: find_places(org_id, examined)
--     (the default branches with their environments among the newest :examined runs, and those that have histories)
SELECT p.project_id, environment
FROM projects p CROSS JOIN LATERAL (
    SELECT coalesce(newest.environment, '') AS environment
    FROM (
        SELECT r.environment FROM runs r
        WHERE r.org_id = :org_id AND r.project_id = p.project_id AND r.branch = p.default_branch
        ORDER BY r.run_key DESC LIMIT :examined
    ) newest
    UNION
    SELECT h.environment FROM case_histories h WHERE h.org_id = :org_id AND h.project_id = p.project_id
) place
WHERE p.org_id = :org_id AND p.deletion_requested_at IS NULL
ORDER BY p.project_id, environment

-- name: find_places_of(org_id, project_ids, run_keys)
--     (the histories of the projects; without run keys, or else those that contain one of them)
SELECT h.project_id, h.environment FROM case_histories h
WHERE h.org_id = :org_id AND h.project_id = ANY (:project_ids::text[])
      AND (:run_keys::uuid[] IS NULL OR h.run_keys && :run_keys::uuid[])

-- name: find_branch(org_id, project_id)
--     (the default branch, unless the project is being deleted; the lock delays a deletion)
SELECT default_branch FROM projects
WHERE org_id = :org_id AND project_id = :project_id AND deletion_requested_at IS NULL FOR KEY SHARE

-- name: find_bad(org_id, run_keys)  (the cases with bad results in each run)
SELECT replace(run.run_key::text, '-', '') AS run_key,
       ARRAY (
           SELECT d.case_key FROM unnest('{f,e}'::"char"[]) AS failing (status)
           JOIN result_details d ON d.status = failing.status
           WHERE d.org_id = :org_id AND d.run_key = run.run_key AND d.is_last_attempt AND d.status <> 'p'
       ) AS failed,
       ARRAY (
           SELECT d.case_key FROM result_details d WHERE d.org_id = :org_id AND d.run_key = run.run_key AND d.flaky
       ) AS retried
FROM unnest(:run_keys::uuid[]) AS run (run_key)

-- name: find_passed(org_id, run_keys, case_keys)  (which of the cases passed in each run without a retry)
SELECT replace(run.run_key::text, '-', '') AS run_key, ARRAY (
    SELECT r.case_key FROM results r
    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = ANY (:case_keys::bigint[])
          AND r.status = 'p' AND NOT r.flaky
) AS passed
FROM unnest(:run_keys::uuid[]) AS run (run_key)

-- name: find_histories(org_id, project_id, environment)
SELECT branch, document FROM case_histories
WHERE org_id = :org_id AND project_id = :project_id AND environment = :environment

-- name: store_histories(org_id, project_id, environment, branch, newest_run, run_keys, document)
INSERT INTO case_histories (org_id, project_id, environment, branch, newest_run, run_keys, document)
VALUES (:org_id, :project_id, :environment, :branch, :newest_run, :run_keys, :document)
ON CONFLICT (org_id, project_id, environment) DO UPDATE
SET branch = excluded.branch, newest_run = excluded.newest_run, run_keys = excluded.run_keys, document = excluded.document

-- name: delete_histories(org_id, project_id, environment)
DELETE FROM case_histories WHERE org_id = :org_id AND project_id = :project_id AND environment = :environment

-- name: delete_states(org_id, environment, case_keys)
DELETE FROM case_states WHERE org_id = :org_id AND environment = :environment AND case_key = ANY (:case_keys::bigint[])

-- name: delete_states_of(org_id, project_id, environment)
DELETE FROM case_states WHERE org_id = :org_id AND project_id = :project_id AND environment = :environment

-- name: store_states(org_id, project_id, environment, case_keys, states)
INSERT INTO case_states (org_id, project_id, environment, case_key, state)
SELECT :org_id, :project_id, :environment, new.* FROM unnest(:case_keys::bigint[], :states::text[]) new
ON CONFLICT (org_id, case_key, environment) DO UPDATE SET state = excluded.state

-- name: find_other_states(org_id, environment, case_keys)  (of the cases in other environments)
SELECT case_key, state FROM case_states
WHERE org_id = :org_id AND case_key = ANY (:case_keys::bigint[]) AND environment <> :environment

-- name: shown_states  (of the unhealthy cases of a project; broken precedes flaky)
SELECT s.case_key, min(s.state) AS state FROM case_states s WHERE s.org_id = :org_id AND s.project_id = :project_id
GROUP BY s.case_key

-- name: find_unhealthy(org_id, project_id)
{shown_states}

-- name: find_run_keys(org_id, project_id, limit)  (of the newest runs in all environments, newest first)
SELECT replace(newest.run_key::text, '-', '') AS run_key
FROM case_histories h CROSS JOIN LATERAL unnest(h.run_keys[1:(:limit::int)]) AS newest (run_key)
WHERE h.org_id = :org_id AND h.project_id = :project_id ORDER BY newest.run_key DESC LIMIT :limit

-- name: find_executed(org_id, project_id, runs)  (by the newest runs of each environment, newest first)
SELECT ARRAY (
    SELECT r.passed + r.failed + r.error FROM runs r
    WHERE r.org_id = :org_id AND r.run_key = ANY (h.run_keys[1:(:runs::int)]) ORDER BY r.run_key DESC
) AS executed
FROM case_histories h WHERE h.org_id = :org_id AND h.project_id = :project_id

-- name: delete_of_project(org_id, project_id)
WITH states AS (DELETE FROM case_states WHERE org_id = :org_id AND project_id = :project_id)
DELETE FROM case_histories WHERE org_id = :org_id AND project_id = :project_id

-- name: find_shown(org_id, case_keys)
--     (the worst state of each unhealthy case; of several environments, that with the newest run)
SELECT DISTINCT ON (s.case_key) s.case_key, s.state, s.project_id, s.environment
FROM case_states s JOIN case_histories h
    ON h.org_id = :org_id AND h.project_id = s.project_id AND h.environment = s.environment
WHERE s.org_id = :org_id AND s.case_key = ANY (:case_keys::bigint[])
ORDER BY s.case_key, s.state, h.newest_run DESC -- broken precedes flaky

-- name: find_run_ids(org_id, run_keys)
SELECT replace(run_key::text, '-', '') AS run_key, run_id FROM runs
WHERE org_id = :org_id AND run_key = ANY (:run_keys::uuid[])

-- name: count_shown(org_id, project_id)
SELECT state, count(*) AS cases FROM (
    {shown_states}
) shown
GROUP BY state
