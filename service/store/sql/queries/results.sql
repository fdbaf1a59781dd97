-- The list of results and one result.
--
-- composition.py builds each statement from fragments: {name} is another fragment, a fragment that the caller chooses, or
-- a budget, and :name is a parameter. For the list, {driver} chooses the index that yields the candidates (runs, or
-- results without a filter on runs), and {rows} chooses how the rows of one candidate are read.
--
-- {examined} returns rows in the order of the list. A row with `matches` belongs to the page. A row with `is_edge` is the
-- last one within a budget. It determines where the next page starts even if nothing matched.
--
-- Every lookup by run_key is also limited to the range from :first_key to :before_run, so that the executor opens only the
-- partitions of these months when it starts. Without the limit, it opens all of them before it knows the first run_key.

-- name: page_of_results  (the results that match, in the order of the list, as one array per column, and their runs)
-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        {examined}
    ) examined
    WHERE matches OR is_edge LIMIT :page::int + 1
), listed AS (
    SELECT array_agg(fact.run_key) AS run_keys, array_agg(fact.case_key) AS case_keys,
           array_agg({outcome}) AS outcomes,
           array_agg(fact.duration_ms) AS durations_ms, array_agg(fact.started_offset_ms) AS started_offsets_ms
    FROM (
        {facts}
    ) fact CROSS JOIN LATERAL (
        SELECT
            {summary} AS summary
    ) failure
)
SELECT listed.*, run.*, edge.*, {case_version}
FROM listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key) AS keys_of_runs, array_agg(r.run_id) AS run_ids, array_agg(r.project_id) AS project_ids,
           array_agg(r.environment) AS environments, array_agg(r.branch) AS branches,
           array_agg({completed_ms}) AS completed_ms
    FROM runs r WHERE r.org_id = :org_id AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key) AS edge_runs, array_agg(case_key) AS edge_cases FROM examined WHERE is_edge
) edge

-- name: requested_keys  (the results with these keys, in this order)
SELECT *, true AS matches, false AS is_edge
FROM unnest(:run_keys::uuid[], :case_keys::bigint[]) AS key (run_key, case_key)

-- name: facts_examined  (the candidates are rows of results and have all columns)
SELECT * FROM examined WHERE matches

-- name: facts_by_key  (LIMIT 1 keeps the planner from joining complete tables)
SELECT key.*, fact.*
FROM (SELECT * FROM examined WHERE matches) key LEFT JOIN LATERAL (
    SELECT {fact_values} FROM results r
    WHERE r.org_id = :org_id AND r.run_key = key.run_key AND r.case_key = key.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) fact ON true

-- name: completed_ms  (milliseconds since 1970, which a double precision number represents exactly enough to be rounded)
(date_part('epoch', r.completed_at) * 1000)::bigint

-- name: outcome  (status code, flaky, attempts, and summary of the failure; null if the result passed in its only attempt)
-- One text, because each further array of a page needs about 15 µs. result_items.py splits it.
CASE WHEN fact.status <> 'p' OR fact.flaky OR fact.attempts > 1
     THEN fact.status::text || '|' || fact.flaky::int || '|' || fact.attempts || coalesce('|' || failure.summary, '') END

-- name: case_version  (another one in each statement, so that each page reads its cases)
gen_random_uuid()::text AS case_version

-- name: members  (of a case in the public object of a result: from the digits of `case` until the value of `status`)
encode(int8send(c.case_key), 'hex') || '","case_id":' || coalesce(to_json(c.case_id)::text, 'null')
    || ',"variant":' || c.variant || ',"suite":' || to_json(c.suite) || ',"name":' || to_json(c.name)
    || ',"file":' || coalesce(to_json(c.file)::text, 'null') || ',"status":"'

-- name: members_of_cases
SELECT array_agg(c.case_key) AS case_keys,
       array_agg(
           {members}
       ) AS members, {case_version}
FROM cases c WHERE c.org_id = :org_id AND c.case_key = ANY (:case_keys::bigint[])

-- name: summary  (of the shown failure, which needs a lookup)
CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
    SELECT detail.summary FROM result_details detail
    WHERE detail.org_id = :org_id AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
      AND detail.run_key BETWEEN :first_key AND :before_run AND {is_shown_failure} LIMIT 1
) END

-- name: summary_of_candidate  (without a lookup)
fact.summary

-- name: fact_columns
r.case_key, {fact_values}

-- name: fact_values
r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms

-- name: is_shown_failure  (the row with the failure of a result; for a flaky result, that of its last failing attempt)
(detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky)

-- name: started_at
known_start(run.completed_at, fact.started_offset_ms)

-- name: rows_of_runs  (the candidates are runs; {driver} chooses the index, and the other filters are checked per run)
SELECT run.run_key, candidate.*, run.row_no = {run_budget} OR row_number() OVER () = {row_budget} AS is_edge
FROM (
    SELECT
        r.run_key, r.project_id, row_number() OVER () AS row_no,
        {run_matches} AS matches
    FROM (
        {candidates}
    ) r
) run
LEFT JOIN LATERAL (  -- OFFSET 0: the rows of the last run within the budget are read only if it matches
    SELECT candidate.*
    FROM (SELECT run.run_key, run.project_id WHERE run.matches OFFSET 0) run CROSS JOIN LATERAL (
        {rows}
    ) candidate
) candidate ON true
WHERE run.matches OR run.row_no = {run_budget}
LIMIT {row_budget}

-- name: run_matches  (whether a run matches the filters of runs and has results with the statuses)
({run_filters}
 AND {matching_results} > 0)

-- name: matching_results  (the number of results of a run that match the filters of statuses and flaky)
CASE WHEN :flaky::bool IS NULL THEN {result_count}
     WHEN :flaky::bool THEN {flaky_results} ELSE {result_count} - {flaky_results} END

-- name: result_count  (no function of the row, because the row of a shard has another type)
(CASE WHEN 'p' = ANY (:statuses::text[]) THEN r.passed ELSE 0 END
 + CASE WHEN 'f' = ANY (:statuses::text[]) THEN r.failed ELSE 0 END
 + CASE WHEN 'e' = ANY (:statuses::text[]) THEN r.error ELSE 0 END
 + CASE WHEN 's' = ANY (:statuses::text[]) THEN r.skipped ELSE 0 END
 + CASE WHEN 'c' = ANY (:statuses::text[]) THEN r.canceled ELSE 0 END)

-- name: flaky_results  (each of them passed)
CASE WHEN 'p' = ANY (:statuses::text[]) THEN r.flaky ELSE 0 END

-- name: row_filters  (the filters of results, for the list and for exports)
(:any_status::bool OR r.status = ANY (:statuses::text[]::"char"[])) AND (:flaky::bool IS NULL OR r.flaky = :flaky::bool)
AND (:min_duration_ms::int IS NULL OR r.duration_ms >= :min_duration_ms::int)

-- name: rows_any  (every result of the run)
SELECT {fact_columns}, {row_filters} AS matches
FROM results r
WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.run_key BETWEEN :first_key AND :before_run
  AND (r.run_key, r.case_key) < (:before_run, :before_case)
ORDER BY r.case_key DESC LIMIT {row_budget}

-- name: rows_of_duration  (probes each run, because it might have no long result)
{rows_any}

-- name: rows_not_passed  (from the smaller table, because a run might have one failure among 20,000 results)
SELECT candidate.case_key, candidate.summary, true AS matches
FROM unnest(:statuses::text[]::"char"[]) AS selected (status)
CROSS JOIN LATERAL (
    SELECT d.case_key, d.summary FROM result_details d
    WHERE d.org_id = :org_id AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
      AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
      AND (d.run_key, d.case_key) < (:before_run, :before_case)
    ORDER BY d.case_key DESC LIMIT {page_rows}
) candidate
ORDER BY candidate.case_key DESC LIMIT {page_rows}

-- name: page_rows
:page::int + 1

-- name: rows_with_durations  (looks up the result of each row that {checked_rows} returns, because it has the total duration)
SELECT candidate.case_key, coalesce(r.matches, false) AS matches
FROM (
    {checked_rows}
) candidate
LEFT JOIN LATERAL (
    SELECT {row_filters} AS matches FROM results r
    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = candidate.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) r ON true

-- name: rows_flaky  (from the index of the failing attempts of flaky results)
SELECT d.case_key, d.summary, true AS matches
FROM result_details d
WHERE d.org_id = :org_id AND d.flaky AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
  AND (d.run_key, d.case_key) < (:before_run, :before_case)
ORDER BY d.case_key DESC LIMIT {page_rows}

-- name: rows_of_fingerprint  (all failures of a group in the run)
SELECT failure.case_key, {failure_matches} AS matches
FROM (
    SELECT d.run_key, d.case_key, d.status
    FROM {failing_statuses} CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key, d.status FROM result_details d
        WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
          AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.fingerprint = :fingerprint
        ORDER BY d.case_key DESC LIMIT {row_budget}
    ) d
    ORDER BY d.case_key DESC LIMIT {row_budget}
) failure
{checked_failure}

-- name: results_of_fingerprint  (reads the failures of a group in each of its minutes, and checks the run of each one)
-- The last minute within the budget ends with a row that isn't a result, at the start of the part of the minute that was read.
SELECT failure.run_key, failure.case_key, coalesce(run.matches, false) AND {failure_matches} AS matches,
       failure.is_end OR row_number() OVER () = {run_budget} AS is_edge
FROM (
    SELECT failure.*
    FROM (
        SELECT minute, {keys_of_minute}, row_number() OVER () = {run_budget} AS is_last FROM (
            SELECT DISTINCT g.minute FROM failure_group_minutes g
            WHERE g.org_id = :org_id AND g.fingerprint = :fingerprint
              AND g.minute BETWEEN completion_minute(:first_key) AND completion_minute(:before_run)
              AND first_run_key_of_minute(g.minute) < :before_run
              AND (:first_key, (-9223372036854775808)::bigint) < (:before_run, :before_case) -- the range isn't read completely
            ORDER BY g.minute DESC LIMIT {run_budget}
        ) minute
        OFFSET 0
    ) minute CROSS JOIN LATERAL (
        (SELECT d.run_key, d.case_key, d.status, false AS is_end
         FROM {failing_statuses} CROSS JOIN LATERAL (
             SELECT d.run_key, d.case_key, d.status FROM result_details d
             WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
               AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = :fingerprint
               AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key BETWEEN :first_key AND :before_run
             ORDER BY d.run_key DESC, d.case_key DESC LIMIT {run_budget}
         ) d
         ORDER BY d.run_key DESC, d.case_key DESC LIMIT {run_budget})
        UNION ALL
        SELECT greatest(minute.first_key, :first_key), (-9223372036854775808)::bigint, NULL, true WHERE minute.is_last
    ) failure
    LIMIT {run_budget}
) failure
LEFT JOIN LATERAL (
    SELECT
        {run_matches} AS matches
    FROM runs r
    WHERE r.org_id = :org_id AND r.run_key = failure.run_key LIMIT 1
) run ON true
{checked_failure}

-- name: failing_statuses  (of the results that have a fingerprint)
unnest('{f,e}'::"char"[]) AS failing (status)

-- name: keys_of_minute  (columns of a subquery, because row-level security prevents a function call from being an index condition)
first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key

-- name: failure_matches
failure.status = ANY (:statuses::text[]::"char"[])

-- name: failure_and_case_match
coalesce(fact.matches AND test_case.matches, false)

-- name: checked_failure  (the details of a failure contain every value that the filter compares)
CROSS JOIN (SELECT) nothing_else

-- name: checked_failure_and_case
LEFT JOIN LATERAL (
    SELECT {row_filters} AS matches FROM results r
    WHERE r.org_id = :org_id AND r.run_key = failure.run_key AND r.case_key = failure.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) fact ON true
LEFT JOIN LATERAL (
    SELECT {case_filters} AND (:case_key::bigint IS NULL OR c.case_key = :case_key::bigint)
           AND (:case_id::text IS NULL OR c.case_id = :case_id::text) AS matches
    FROM cases c
    WHERE c.org_id = :org_id AND c.case_key = failure.case_key LIMIT 1
) test_case ON true

-- name: rows_with_cases  (looks up the case of each row that {checked_rows} returns)
SELECT candidate.case_key, coalesce(c.matches, false) AS matches
FROM (
    {checked_rows}
) candidate
LEFT JOIN LATERAL (
    SELECT {case_filters} AS matches FROM cases c
    WHERE candidate.matches AND c.org_id = :org_id AND c.case_key = candidate.case_key LIMIT 1
) c ON true

-- name: rows_of_suite  (looks up each case of the suite in the run)
SELECT c.case_key, c.matches AND coalesce(r.matches, false) AS matches
FROM (
    SELECT c.case_key, {case_filters} AS matches FROM cases c
    WHERE c.org_id = :org_id AND c.project_id = run.project_id
      AND c.suite_hash = hashtextextended(:suite::text, 0) AND c.suite = :suite::text
      AND c.case_key < CASE WHEN run.run_key = :before_run THEN :before_case ELSE 9223372036854775807 END
    ORDER BY c.case_key DESC LIMIT {row_budget}
) c
LEFT JOIN LATERAL (
    SELECT {row_filters} AS matches FROM results r
    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = c.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) r ON true

-- name: rows_of_case  (looks up the case once per run)
SELECT {fact_columns}, {row_filters} AS matches
FROM results r
WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = :case_key
  AND r.run_key BETWEEN :first_key AND :before_run AND (r.run_key, r.case_key) < (:before_run, :before_case)
LIMIT 1

-- name: rows_of_case_id  (for a case_id of several cases: each run has the variants of the case of its own project)
SELECT c.case_key, c.matches AND coalesce(r.matches, false) AS matches
FROM (
    SELECT c.case_key, {case_filters} AS matches FROM cases c
    WHERE c.org_id = :org_id AND c.case_id = :case_id::text AND c.project_id = run.project_id
      AND c.case_key < CASE WHEN run.run_key = :before_run THEN :before_case ELSE 9223372036854775807 END
    ORDER BY c.case_key DESC LIMIT {row_budget}
) c
LEFT JOIN LATERAL (
    SELECT {row_filters} AS matches FROM results r
    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = c.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) r ON true

-- name: all_rows  (without filters, every result matches, so no budget is necessary)
SELECT r.run_key, {fact_columns}, true AS matches, false AS is_edge FROM results r
WHERE r.org_id = :org_id AND (r.run_key, r.case_key) < (:before_run, :before_case)
  AND r.run_key BETWEEN :first_key AND :before_run
ORDER BY r.run_key DESC, r.case_key DESC

-- name: all_rows_any  (without filters on runs or cases, the list is the primary key)
SELECT r.*, {row_filters} AS matches, row_number() OVER () = {row_budget} AS is_edge
FROM (
    SELECT r.run_key, {fact_columns} FROM results r
    WHERE r.org_id = :org_id AND (r.run_key, r.case_key) < (:before_run, :before_case)
      AND r.run_key BETWEEN :first_key AND :before_run
    ORDER BY r.run_key DESC, r.case_key DESC LIMIT {row_budget}
) r

-- name: all_rows_with_durations  (looks up the result of each row that {checked_rows} returns, because it has the total duration)
SELECT candidate.run_key, candidate.case_key, coalesce(r.matches, false) AS matches,
       row_number() OVER () = {row_budget} AS is_edge
FROM (
    {checked_rows}
) candidate
LEFT JOIN LATERAL (
    SELECT {row_filters} AS matches FROM results r
    WHERE r.org_id = :org_id AND r.run_key = candidate.run_key AND r.case_key = candidate.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) r ON true
LIMIT {row_budget}

-- name: all_rows_not_passed  (every index entry matches, so no budget is necessary)
SELECT candidate.run_key, candidate.case_key, candidate.summary, true AS matches, false AS is_edge
FROM unnest(:statuses::text[]::"char"[]) AS selected (status)
CROSS JOIN LATERAL (
    SELECT d.run_key, d.case_key, d.summary FROM result_details d
    WHERE d.org_id = :org_id AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
      AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key BETWEEN :first_key AND :before_run
    ORDER BY d.run_key DESC, d.case_key DESC LIMIT {page_rows}
) candidate
ORDER BY candidate.run_key DESC, candidate.case_key DESC

-- name: all_rows_flaky  (every index entry matches, so no budget is necessary)
SELECT d.run_key, d.case_key, d.summary, true AS matches, false AS is_edge
FROM result_details d
WHERE d.org_id = :org_id AND d.flaky AND (d.run_key, d.case_key) < (:before_run, :before_case)
  AND d.run_key BETWEEN :first_key AND :before_run
ORDER BY d.run_key DESC, d.case_key DESC LIMIT {page_rows}

-- name: rows_not_passed_of_case  (reads all failures of a case and checks the run of each one)
SELECT detail.run_key, detail.case_key,
       coalesce(run.matches, false) AND detail.status = ANY (:statuses::text[]::"char"[]) AS matches,
       row_number() OVER () = {run_budget} AS is_edge
FROM (
    SELECT d.run_key, d.case_key, d.status FROM result_details d
    WHERE d.org_id = :org_id AND d.case_key = :case_key AND d.is_last_attempt AND d.status <> 'p'
      AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key BETWEEN :first_key AND :before_run
    ORDER BY d.run_key DESC LIMIT {run_budget}
) detail
LEFT JOIN LATERAL (
    SELECT
        {run_matches} AS matches
    FROM runs r
    WHERE r.org_id = :org_id AND r.run_key = detail.run_key LIMIT 1
) run ON true

-- name: sorted_rows  (all results of one run; the page starts after the case :after_case)
SELECT run.run_key, candidate.case_key, sorted.value, true AS matches, false AS is_edge
FROM (
    SELECT r.run_key, r.project_id FROM runs r
    WHERE r.org_id = :org_id AND r.run_id = :run_id AND r.run_key BETWEEN :first_key AND :before_run AND {run_matches}
    LIMIT 1
) run
LEFT JOIN LATERAL (
    SELECT found.value FROM (SELECT run.run_key, :after_case::bigint AS case_key) key CROSS JOIN LATERAL (
        {found_value}
    ) found
) last_of_page ON true
CROSS JOIN LATERAL (
    {rows}
) candidate
CROSS JOIN LATERAL (
    SELECT found.value FROM (SELECT run.run_key, candidate.case_key) key CROSS JOIN LATERAL (
        {candidate_value}
    ) found
) sorted
WHERE candidate.matches
  AND (:after_case::bigint IS NULL OR (sorted.value, candidate.case_key) > (last_of_page.value, :after_case::bigint))
ORDER BY sorted.value, candidate.case_key LIMIT :page::int + 1

-- name: value_of_duration  (a result without a duration is the last one)
SELECT -r.duration_ms AS value FROM results r
WHERE r.org_id = :org_id AND r.run_key = key.run_key AND r.case_key = key.case_key
  AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1

-- name: value_of_examined_duration
SELECT -candidate.duration_ms AS value

-- name: value_of_suite
SELECT {names_of_case} AS value FROM cases c WHERE c.org_id = :org_id AND c.case_key = key.case_key LIMIT 1

-- name: names_of_case  (in the order of their bytes, which is independent of the settings of the database)
ARRAY[coalesce(c.file, ''), c.suite, c.name] COLLATE "C"

-- name: key_of_run
SELECT r.run_key FROM runs r WHERE r.org_id = :org_id AND r.run_id = :run_id

-- name: sortable_run
SELECT r.revision, r.passed + r.failed + r.error + r.skipped + r.canceled AS results FROM runs r
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)

-- name: one_result  (each table by the parameters, so that the executor opens only the partition of the run)
-- `rest` has the members that only a single result has.
SELECT run.run_id, run.project_id, run.environment, run.branch, times.completed_ms,
       {members} AS members,
       {outcome} AS outcome, fact.duration_ms, fact.started_offset_ms, row_to_json(item)::text AS rest
FROM results fact
JOIN runs run ON run.org_id = :org_id AND run.run_key = fact.run_key
JOIN cases c ON c.org_id = :org_id AND c.case_key = fact.case_key
CROSS JOIN LATERAL (
    SELECT
        {completed_ms} AS completed_ms
    FROM (SELECT run.completed_at) r
) times
LEFT JOIN LATERAL (
    SELECT d.logs_ref, d.line, d.properties, d.fingerprint FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key AND d.is_last_attempt
    LIMIT 1
) last_attempt ON true
LEFT JOIN LATERAL (
    SELECT d.type, d.message, d.details, d.summary FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key
      AND CASE WHEN fact.flaky THEN d.flaky ELSE d.is_last_attempt END
    LIMIT 1
) detail ON true
CROSS JOIN LATERAL (  -- the numbers of the attempts of the part that decides; only a part with such a number has attempts
    SELECT array_agg(part.number ORDER BY part.attempt) AS numbers,
           array_agg(part.number ORDER BY part.attempt) FILTER (WHERE part.attempt > 0) AS ranked
    FROM run_parts deciding
    JOIN run_parts part ON part.org_id = :org_id AND part.run_key = :run_key AND part.name = deciding.name
                           AND part.variant = deciding.variant AND part.shard = deciding.shard
    WHERE fact.shard > 10000 AND deciding.org_id = :org_id AND deciding.run_key = :run_key
          AND deciding.number = fact.shard
) job
CROSS JOIN LATERAL (
    SELECT json_agg(one ORDER BY one.attempt) AS attempts FROM (
        SELECT
            detail.attempt, status_name(detail.status) AS status,
            known_duration(detail.duration_ms) AS duration_ms,
            rfc3339(known_start(run.completed_at, detail.started_offset_ms)) AS started_at,
            {failure} AS failure, detail.logs_ref, {job_attempt} AS job_attempt
        FROM result_details detail
        WHERE detail.org_id = :org_id AND detail.run_key = :run_key AND detail.case_key = :case_key
    ) one
) earlier
CROSS JOIN LATERAL (  -- if all attempts of the job passed, no execution has details
    SELECT json_agg(one ORDER BY one.attempt) AS attempts FROM (
        SELECT row_number() OVER (ORDER BY array_position(job.numbers, detail.shard)) AS attempt,
               status_name(fact.status) AS status,
               known_duration((detail.result -> 'duration_ms')::int) AS duration_ms,
               rfc3339(known_start(run.completed_at, (detail.result -> 'started_offset_ms')::int)) AS started_at,
               NULL AS failure, NULL AS logs_ref, {job_attempt} AS job_attempt
        FROM shard_results detail
        WHERE fact.attempts > 1 AND fact.shard > 10000 AND detail.org_id = :org_id AND detail.run_key = :run_key
              AND detail.case_key = :case_key AND detail.shard = ANY (job.numbers)
              AND detail.result ->> 'status' = fact.status::text  -- not an attempt that skipped the case
    ) one
) passed
CROSS JOIN LATERAL (SELECT detail.summary) failure
CROSS JOIN LATERAL (
    SELECT
        last_attempt.line, coalesce(last_attempt.properties, '{}') AS properties, last_attempt.logs_ref,
        {failure} AS failure,
        'fp1_' || lpad(to_hex(last_attempt.fingerprint), 16, '0') AS fingerprint,
        coalesce(earlier.attempts, passed.attempts, json_build_array(json_build_object(
            'attempt', 1, 'status', status_name(fact.status), 'duration_ms', known_duration(fact.duration_ms),
            'started_at', rfc3339({started_at}), 'failure', NULL, 'logs_ref', NULL,
            'job_attempt', array_position(job.ranked, fact.shard)))) AS attempt_details,
        (
            SELECT
                ({run_json})::json
            FROM (SELECT run.*) r
        ) AS run,
        :link_base::text || '/v1/results/' || result_id(fact.run_key, fact.case_key) || '/artifacts' AS artifacts_url
) item
WHERE fact.org_id = :org_id AND fact.run_key = :run_key AND fact.case_key = :case_key
  AND (:project_id::text IS NULL OR run.project_id = :project_id)

-- name: job_attempt  (the rank of the attempt of the job among those of its part, or null)
array_position(job.ranked, detail.shard)

-- name: failure
CASE WHEN coalesce(detail.type, detail.message, detail.details) IS NOT NULL
     THEN json_build_object('type', detail.type, 'message', detail.message, 'details', detail.details) END
