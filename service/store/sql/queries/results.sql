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

-- name: page_of_results  (selects the page of keys first, because joins before LIMIT would read the complete list)
-- `data` is null for a page that might be large: large_page_of_results reads it.
WITH examined AS MATERIALIZED (
    {examined_rows}
), {page_keys}, {listed_parts}
SELECT CASE WHEN page.data IS NULL THEN '[]'
            WHEN octet_length(page.data) < {page_bytes} THEN '[' || page.data || ']' END AS data,
       run_keys[last_no] AS run_key, case_keys[last_no] AS case_key
FROM (
    SELECT string_agg(item, ',') AS data FROM (
        SELECT
            fact.run_key, fact.case_key,  -- before the item, whose length varies, because the sort reads them most often
            {result_item} AS item
        FROM {listed_results}
        ORDER BY {list_order}
    ) written OFFSET 0
) page CROSS JOIN page_keys

-- name: large_page_of_results  (of which a page contains the first items, until it is large)
WITH examined AS MATERIALIZED (
    SELECT *, row_number() OVER () AS row_no FROM (
        {examined_rows}
    ) examined
), {page_keys}, {listed_items}, page AS MATERIALIZED (
    SELECT string_agg(item, ',' ORDER BY row_no) AS data, coalesce(sum(octet_length(item)), 0) < {page_bytes} AS fits
    FROM listed_items
), large_page AS MATERIALIZED (
    SELECT string_agg(item, ',' ORDER BY row_no) AS data, max(row_no) AS row_no
    FROM (
        {fitting_items}
    ) fitting
    WHERE NOT (SELECT fits FROM page)
)
SELECT '[' || coalesce(CASE WHEN page.fits THEN page.data ELSE large_page.data END, '') || ']' AS data,
       run_keys[coalesce(large_page.row_no, last_no)] AS run_key,
       case_keys[coalesce(large_page.row_no, last_no)] AS case_key
FROM page CROSS JOIN large_page CROSS JOIN page_keys

-- name: page_keys  (CTEs with all examined keys, and with those that the page contains)
-- `last_no` is the number of the row after which the next page starts: the last one of a full page, or within a budget.
page_keys AS MATERIALIZED (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key) AS case_keys,
           CASE WHEN count(*) FILTER (WHERE matches) > :page::int THEN :page::int
                WHEN count(*) > :page::int OR bool_or(is_edge) THEN count(*) END AS last_no
    FROM examined
), listed_keys AS (
    SELECT * FROM examined WHERE matches LIMIT :page::int
)

-- name: examined_rows  (the rows that match, and the last one within the budget)
SELECT * FROM (
    {examined}
) examined
WHERE matches OR is_edge LIMIT :page::int + 1

-- name: results_of_keys  (the public results with these keys, in this order, until the page is large)
WITH page_keys AS (
    SELECT :run_keys::uuid[] AS run_keys, :case_keys::bigint[] AS case_keys
), listed_keys AS (
    SELECT * FROM unnest(:run_keys::uuid[], :case_keys::bigint[]) WITH ORDINALITY AS key (run_key, case_key, row_no)
), {listed_items}
{fitting_items}
ORDER BY row_no

-- name: fitting_items  (the items of a page: it ends after the item with which it becomes large)
SELECT row_no, item FROM (
    SELECT row_no, item, sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < {page_bytes} AS fits
    FROM listed_items
) sized
WHERE fits

-- name: listed_items  (CTEs that write the public result of each row of `listed_keys` as JSON)
{listed_parts}, written AS MATERIALIZED (
    SELECT
        fact.row_no,
        {result_item} AS item
    FROM {listed_results}
), listed_items AS (
    SELECT row_no, item FROM written WHERE item IS NOT NULL
)

-- name: listed_parts  (CTEs with the parts of the public results of `listed_keys`, whose runs and cases are in `page_keys`)
listed_runs AS MATERIALIZED (
    SELECT
        r.run_key, {run_parts}
    FROM runs r WHERE r.org_id = :org_id AND r.run_key = ANY ((SELECT run_keys FROM page_keys)::uuid[])
), listed_cases AS (
    SELECT
        c.case_key, {case_parts}
    FROM cases c WHERE c.org_id = :org_id AND c.case_key = ANY ((SELECT case_keys FROM page_keys)::bigint[])
    ORDER BY c.case_key DESC  -- like the results of a run, so that the sort of a page has little to do
)

-- name: result_item  (the public result as JSON, or null if its run was deleted)
{result_members} || coalesce({summary} || '}', 'null}')

-- name: listed_results  (the facts of `listed_keys` with the parts of their cases and runs)
-- Results of one page share runs, so the members of a run are written once. Every join is a FULL JOIN, which PostgreSQL
-- always executes as a hash or merge join. The estimates of CTEs are so wrong that it would otherwise choose nested
-- loops, whose time is quadratic. A hash table contains facts or runs, but not their product.
(
    {facts}
) fact
FULL JOIN listed_cases test_case ON test_case.case_key = fact.case_key
FULL JOIN listed_runs run ON run.run_key = fact.run_key

-- name: order_of_keys  (newest run first; a run or case that isn't listed has no fact)
fact.run_key DESC NULLS LAST, fact.case_key DESC

-- name: order_of_values
fact.value, fact.case_key

-- name: facts_examined  (the candidates are rows of results and have all columns)
SELECT * FROM listed_keys

-- name: facts_by_key  (LIMIT 1 keeps the planner from joining complete tables)
SELECT key.*, fact.*
FROM listed_keys key CROSS JOIN LATERAL (
    SELECT {fact_values} FROM results r
    WHERE r.org_id = :org_id AND r.run_key = key.run_key AND r.case_key = key.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) fact

-- name: summary  (of the shown failure, which needs a lookup)
CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
    SELECT to_json(detail.summary)::text FROM result_details detail
    WHERE detail.org_id = :org_id AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
      AND detail.run_key BETWEEN :first_key AND :before_run AND {is_shown_failure} LIMIT 1
) END

-- name: summary_of_candidate  (without a lookup)
to_json(fact.summary)::text

-- name: fact_columns
r.case_key, {fact_values}

-- name: fact_values
r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms

-- name: result_members  (the public result object until the value of its last member, failure_summary)
-- This is the object of a list, of a history, and the first part of one result. Few long parts are faster than many short
-- ones, because each operator copies its operands.
run.id_part || test_case.hex || run.run_part || test_case.case_part
|| CASE WHEN fact.status = 'p' AND NOT fact.flaky AND fact.attempts = 1
        THEN 'passed","flaky":' || 'false,"attempts":1,"duration_ms":'
        ELSE status_name(fact.status)
             || CASE WHEN fact.flaky THEN '","flaky":' || 'true,"attempts":' ELSE '","flaky":' || 'false,"attempts":' END
             || fact.attempts || ',"duration_ms":' END
|| coalesce(known_duration(fact.duration_ms)::text, 'null')
|| coalesce(',"started_at":"' || rfc3339({started_at}) || '"', ',"started_at":' || 'null') || run.time_part

-- name: run_parts  (the parts of result_members that are equal in all results of a run)
r.completed_at,
'{"id":"res_' || replace(r.run_key::text, '-', '') AS id_part,
'","run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
|| ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
|| ',"branch":' || coalesce(to_json(r.branch)::text, 'null') || ',"case":"case_' AS run_part,
',"completed_at":"' || rfc3339(r.completed_at) || '","failure_summary":' AS time_part

-- name: case_parts  (the parts of result_members that are equal in all results of a case)
encode(int8send(c.case_key), 'hex') AS hex, c.members AS case_part

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
SELECT {result_members} || coalesce(to_json(detail.summary)::text, 'null') || ',' || substr(row_to_json(item)::text, 2)
FROM results fact
JOIN runs stored_run ON stored_run.org_id = :org_id AND stored_run.run_key = fact.run_key
JOIN cases stored_case ON stored_case.org_id = :org_id AND stored_case.case_key = fact.case_key
CROSS JOIN LATERAL (
    SELECT
        {run_parts}
    FROM (SELECT stored_run.*) r
) run
CROSS JOIN LATERAL (
    SELECT
        {case_parts}
    FROM (SELECT stored_case.*) c
) test_case
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
CROSS JOIN LATERAL (
    SELECT json_agg(one ORDER BY one.attempt) AS attempts FROM (
        SELECT
            detail.attempt, status_name(detail.status) AS status,
            known_duration(detail.duration_ms) AS duration_ms,
            rfc3339(known_start(run.completed_at, detail.started_offset_ms)) AS started_at,
            {failure} AS failure, detail.logs_ref
        FROM result_details detail
        WHERE detail.org_id = :org_id AND detail.run_key = :run_key AND detail.case_key = :case_key
    ) one
) earlier
CROSS JOIN LATERAL (
    SELECT
        last_attempt.line, coalesce(last_attempt.properties, '{}') AS properties, last_attempt.logs_ref,
        {failure} AS failure,
        'fp1_' || lpad(to_hex(last_attempt.fingerprint), 16, '0') AS fingerprint,
        coalesce(earlier.attempts, json_build_array(json_build_object(
            'attempt', 1, 'status', status_name(fact.status), 'duration_ms', known_duration(fact.duration_ms),
            'started_at', rfc3339({started_at}), 'failure', NULL, 'logs_ref', NULL))) AS attempt_details,
        (
            SELECT
                ({run_json})::json
            FROM (SELECT stored_run.*) r
        ) AS run,
        :link_base::text || '/v1/results/' || result_id(fact.run_key, fact.case_key) || '/artifacts' AS artifacts_url
) item
WHERE fact.org_id = :org_id AND fact.run_key = :run_key AND fact.case_key = :case_key
  AND (:project_id::text IS NULL OR stored_run.project_id = :project_id)

-- name: failure
CASE WHEN coalesce(detail.type, detail.message, detail.details) IS NOT NULL
     THEN json_build_object('type', detail.type, 'message', detail.message, 'details', detail.details) END
