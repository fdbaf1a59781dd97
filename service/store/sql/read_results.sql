-- The list of results and one result, in the pieces that service/store/postgres/composition.py puts together: which index drives the
-- candidates × how the rows of a candidate are taken. A :name is a parameter, a {name} another piece or a budget.
--
-- What is examined comes out in the order of the list. A row that matches belongs to the page; one at an edge is where
-- a budget is used up, and says how far the page has come even where nothing matched.

-- name: page  (the keys first, then everything about them; joins before LIMIT would read the whole list)
WITH examined AS MATERIALIZED (
    SELECT run_key, case_key, matches, edge FROM ({examined}) examined WHERE matches OR edge LIMIT :page::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, case_key, matches, edge, row_number() OVER () AS nth, count(*) OVER () AS emitted,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > :page::int THEN :page::int ELSE count(*) OVER () END AS cut
    FROM examined
)
SELECT '[' || coalesce((SELECT string_agg(row_to_json(item)::text, ',') FROM ({items}) item), '') || ']' AS data,
       ending.run_key, ending.case_key
FROM (SELECT) always
LEFT JOIN LATERAL (
    SELECT run_key, case_key FROM numbered WHERE nth = cut AND (emitted > :page::int OR edge)
) ending ON true

-- name: items  (each a point look-up on a primary key: LIMIT 1 keeps the planner from joining whole tables)
SELECT result_id(key.run_key, key.case_key) AS id, run.run_id, run.project_id, run.environment, run.branch,
       case_public_id(key.case_key) AS "case", tested.case_id, tested.suite, tested.name, tested.file,
       status_name(fact.status) AS status, fact.flaky, fact.attempts, fact.duration_ms,
       rfc3339(run.completed_at + fact.started_offset_ms * interval '1 millisecond') AS started_at,
       rfc3339(run.completed_at) AS completed_at, failure.summary AS failure_summary
FROM numbered key
CROSS JOIN LATERAL (
    SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
    WHERE r.org_id = :org_id AND r.run_key = key.run_key AND r.case_key = key.case_key LIMIT 1
) fact
CROSS JOIN LATERAL (
    SELECT r.run_id, r.project_id, r.environment, r.branch, r.completed_at FROM runs r
    WHERE r.org_id = :org_id AND r.run_key = key.run_key LIMIT 1
) run
CROSS JOIN LATERAL (
    SELECT c.case_id, c.suite, c.name, c.file FROM cases c
    WHERE c.org_id = :org_id AND c.case_key = key.case_key LIMIT 1
) tested
LEFT JOIN LATERAL (
    SELECT coalesce(first_line(d.message), first_line(d.type)) AS summary FROM result_details d
    WHERE fact.status <> 'p' AND d.org_id = :org_id AND d.run_key = key.run_key AND d.case_key = key.case_key
      AND d.is_last_attempt LIMIT 1
) failure ON true
WHERE key.matches AND key.nth <= key.cut
ORDER BY key.nth

-- name: rows_of_runs  (candidates are runs: an index says which, the other filters say whether one is a hit)
SELECT run.run_key, one.case_key, coalesce(one.matches, false) AS matches,
       run.nth = {run_budget} OR row_number() OVER () = {row_budget} AS edge
FROM (
    SELECT r.run_key, r.project_id, row_number() OVER () AS nth, {hit} AS hit
    FROM (
        SELECT * FROM runs
        WHERE org_id = :org_id AND {driver} AND run_key BETWEEN :first_key AND :before_run
        ORDER BY run_key DESC LIMIT {run_budget}
    ) r
) run
LEFT JOIN LATERAL (  -- behind a gate, so that a run that is no hit costs nothing: a condition would be asked per partition
    SELECT one.case_key, one.matches
    FROM (SELECT run.run_key, run.project_id WHERE run.hit OFFSET 0) run CROSS JOIN LATERAL ({rows}) one
) one ON true
LIMIT {row_budget}

-- name: hit
((:project_id::text IS NULL OR r.project_id = :project_id) AND (:environment::text IS NULL OR r.environment = :environment)
 AND (:branch::text IS NULL OR r.branch = :branch)
 AND ('p' = ANY (:statuses::text[]) AND r.passed > 0 OR 'f' = ANY (:statuses::text[]) AND r.failed > 0
      OR 'e' = ANY (:statuses::text[]) AND r.error > 0 OR 's' = ANY (:statuses::text[]) AND r.skipped > 0
      OR 'c' = ANY (:statuses::text[]) AND r.canceled > 0))

-- name: driver_run
run_id = :run_id

-- name: driver_project_and_branch
project_id = :project_id AND branch = :branch

-- name: driver_branch
branch = :branch

-- name: driver_project
project_id = :project_id

-- name: driver_project_with_failed
project_id = :project_id AND failed > 0

-- name: driver_project_with_error
project_id = :project_id AND error > 0

-- name: driver_project_with_skipped
project_id = :project_id AND skipped > 0

-- name: driver_project_with_canceled
project_id = :project_id AND canceled > 0

-- name: driver_environment
environment = :environment

-- name: driver_nothing
true

-- name: rows_any  (every result of the run, whatever its status)
SELECT r.case_key, r.status = ANY (:statuses::text[]::"char"[]) AS matches
FROM results r
WHERE r.org_id = :org_id AND r.run_key = run.run_key
  AND (r.run_key, r.case_key) < (:before_run, :before_case)
ORDER BY r.case_key DESC LIMIT {row_budget}

-- name: rows_not_passed  (from the small table: a run may have one failure among 20,000 results)
SELECT one.case_key, true AS matches
FROM unnest(:statuses::text[]::"char"[]) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT d.case_key FROM result_details d
    WHERE d.org_id = :org_id AND d.status = wanted.status AND d.is_last_attempt AND d.status <> 'p'
      AND d.run_key = run.run_key AND (d.run_key, d.case_key) < (:before_run, :before_case)
    ORDER BY d.case_key DESC LIMIT :page::int + 1
) one
ORDER BY one.case_key DESC LIMIT :page::int + 1

-- name: rows_of_suite  (the suite's cases, each looked for in the run)
SELECT c.case_key, coalesce(r.status = ANY (:statuses::text[]::"char"[]), false) AS matches
FROM (
    SELECT c.case_key FROM cases c
    WHERE c.org_id = :org_id AND c.project_id = run.project_id
      AND c.suite_hash = hashtextextended(:suite::text, 0) AND c.suite = :suite::text
      AND c.case_key < CASE WHEN run.run_key = :before_run THEN :before_case ELSE 9223372036854775807 END
    ORDER BY c.case_key DESC LIMIT {row_budget}
) c
LEFT JOIN LATERAL (
    SELECT r.status FROM results r
    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = c.case_key LIMIT 1
) r ON true

-- name: rows_of_case  (the key probed once per run)
SELECT r.case_key, r.status = ANY (:statuses::text[]::"char"[]) AS matches
FROM results r
WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = :case_key
  AND (r.run_key, r.case_key) < (:before_run, :before_case)
LIMIT 1

-- name: rows_of_case_id  (the same case_id in several projects: each run's project has its own case)
SELECT r.case_key, r.status = ANY (:statuses::text[]::"char"[]) AS matches
FROM (
    SELECT c.case_key FROM cases c
    WHERE c.org_id = :org_id AND c.case_id = :case_id::text AND c.project_id = run.project_id
      AND (:suite::text IS NULL OR c.suite = :suite::text) LIMIT 1
) c
CROSS JOIN LATERAL (
    SELECT r.case_key, r.status FROM results r
    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = c.case_key
      AND (r.run_key, r.case_key) < (:before_run, :before_case) LIMIT 1
) r

-- name: rows_alone  (nothing is asked of runs or cases: the list is the primary key)
SELECT r.run_key, r.case_key, r.status = ANY (:statuses::text[]::"char"[]) AS matches,
       row_number() OVER () = {row_budget} AS edge
FROM (
    SELECT run_key, case_key, status FROM results
    WHERE org_id = :org_id AND (run_key, case_key) < (:before_run, :before_case) AND run_key >= :first_key
    ORDER BY run_key DESC, case_key DESC LIMIT {row_budget}
) r

-- name: not_passed_alone  (every index entry is a match, so nothing needs a budget)
SELECT one.run_key, one.case_key, true AS matches, false AS edge
FROM unnest(:statuses::text[]::"char"[]) AS wanted (status)
CROSS JOIN LATERAL (
    SELECT d.run_key, d.case_key FROM result_details d
    WHERE d.org_id = :org_id AND d.status = wanted.status AND d.is_last_attempt AND d.status <> 'p'
      AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key >= :first_key
    ORDER BY d.run_key DESC, d.case_key DESC LIMIT :page::int + 1
) one
ORDER BY one.run_key DESC, one.case_key DESC

-- name: not_passed_of_case  (a case's failures, however rare; each one's run says whether it is a hit)
SELECT said.run_key, said.case_key,
       coalesce(run.hit, false) AND said.status = ANY (:statuses::text[]::"char"[]) AS matches,
       row_number() OVER () = {run_budget} AS edge
FROM (
    SELECT d.run_key, d.case_key, d.status FROM result_details d
    WHERE d.org_id = :org_id AND d.case_key = :case_key AND d.is_last_attempt AND d.status <> 'p'
      AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key >= :first_key
    ORDER BY d.run_key DESC LIMIT {run_budget}
) said
LEFT JOIN LATERAL (
    SELECT {hit} AS hit FROM runs r WHERE r.org_id = :org_id AND r.run_key = said.run_key LIMIT 1
) run ON true

-- name: one_result
SELECT row_to_json(item)::text
FROM (
    SELECT result_id(fact.run_key, fact.case_key) AS id, run.run_id, run.project_id, run.environment, run.branch,
           case_public_id(fact.case_key) AS "case", tested.case_id, tested.suite, tested.name, tested.file,
           status_name(fact.status) AS status, fact.flaky, fact.attempts, fact.duration_ms,
           rfc3339(run.completed_at + fact.started_offset_ms * interval '1 millisecond') AS started_at,
           rfc3339(run.completed_at) AS completed_at,
           CASE WHEN fact.status <> 'p' THEN coalesce(first_line(said.message), first_line(said.type)) END AS failure_summary,
           said.logs_ref, {failure} AS failure, coalesce(attempt.details, json_build_array(json_build_object(
               'attempt', 1, 'status', status_name(fact.status), 'duration_ms', fact.duration_ms,
               'started_at', rfc3339(run.completed_at + fact.started_offset_ms * interval '1 millisecond'),
               'failure', NULL, 'logs_ref', NULL))) AS attempt_details,
           (SELECT row_to_json(whole) FROM (SELECT {run_fields} FROM (SELECT run.*) r) whole) AS run,
           :link_base::text || '/v1/results/' || result_id(fact.run_key, fact.case_key) || '/artifacts' AS artifacts_url
    FROM results fact
    JOIN runs run ON run.org_id = fact.org_id AND run.run_key = fact.run_key
    JOIN cases tested ON tested.org_id = fact.org_id AND tested.case_key = fact.case_key
    LEFT JOIN LATERAL (
        SELECT d.type, d.message, d.details, d.logs_ref FROM result_details d
        WHERE d.org_id = fact.org_id AND d.run_key = fact.run_key AND d.case_key = fact.case_key AND d.is_last_attempt LIMIT 1
    ) said ON true
    CROSS JOIN LATERAL (
        SELECT json_agg(one ORDER BY one.attempt) AS details FROM (
            SELECT said.attempt, status_name(said.status) AS status, said.duration_ms,
                   rfc3339(run.completed_at + said.started_offset_ms * interval '1 millisecond') AS started_at,
                   {failure} AS failure, said.logs_ref
            FROM result_details said
            WHERE said.org_id = :org_id AND said.run_key = :run_key AND said.case_key = :case_key
        ) one
    ) attempt
    WHERE fact.org_id = :org_id AND fact.run_key = :run_key AND fact.case_key = :case_key
      AND (:project_id::text IS NULL OR run.project_id = :project_id)
) item

-- name: failure
CASE WHEN coalesce(said.type, said.message, said.details) IS NOT NULL
     THEN json_build_object('type', said.type, 'message', said.message, 'details', said.details) END
