-- Results: the list of results with one statement for each way to find them, one result, and filters of exports.
--
-- queries.py chooses the statement of a list, and explains *candidate*, *fact*, *budget*, and *edge* with an example.
--
-- Each statement of the list consists of `fact` and the constant end, `read_results`, which reads the case and the failure of
-- each fact, and checks the filters of cases.
--
-- :page is the number of rows of the page. :row_budget is the budget of candidates. :rows is the budget of results that
-- didn't pass: :page + 1 is sufficient if each of them matches. {max_row_budget} is the greatest budget, as a literal for
-- the estimate of the planner.
--
-- Only the innermost queries sort, except in `sorted_by_…`. The joins around them keep their order: each is LATERAL with
-- LIMIT 1, so it is a nested loop (tests/results/test_list.py).
--
-- Each lookup by run_key is also limited to the range from :first_key to :before_run, so that the executor opens only the
-- partitions of these months when it starts. Without the limit, it opens all of them before it knows the first run_key.

-- name: read_results  (one array per column, because one row per result takes the driver twice as long)
-- The results that match, in the order of the list, their runs, and the last candidate within the budget as the last edge.
, page AS MATERIALIZED (
    SELECT
        {result_fields},
        fact.is_edge
    FROM fact
    LEFT JOIN LATERAL (
        SELECT * FROM cases c
        WHERE fact.matches AND c.org_id = :org_id AND c.case_key = fact.case_key AND {case_conditions} LIMIT 1
    ) c ON true
    {failure_of_fact}
    WHERE c.name IS NOT NULL OR fact.is_edge
    LIMIT :page::int + 1
)
SELECT listed.*, run.*, edge.*
FROM (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key), array_agg(case_id), array_agg(variant), array_agg(suite),
           array_agg(name), array_agg(file), array_agg(status),
           {each results.LISTED_COLUMNS: array_agg(%)},
           array_agg(failure_summary), array_agg(fingerprint)
    FROM page WHERE name IS NOT NULL
) listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key), array_agg(r.run_id), array_agg(r.project_id), array_agg(r.environment),
           array_agg(r.branch), array_agg(r.commit_sha), array_agg({is_trusted})
    FROM runs r WHERE r.org_id = :org_id AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key), array_agg(case_key) FROM page WHERE is_edge
) edge

-- name: case_conditions  (all filters of cases)
{case_filters} AND (:case_key::bigint IS NULL OR c.case_key = :case_key::bigint)
AND (:case_id::text IS NULL OR c.case_id = :case_id::text)

-- name: result_fields  (what `found_results` of queries.py reads, in this order; `failure` is the fragment failure_of_fact)
fact.run_key, fact.case_key, c.case_id, c.variant::text AS variant, c.suite, c.name,
coalesce(fact.file, failure.file, c.file) AS file,
status_name(fact.status) AS status, {each results.LISTED_COLUMNS: fact.%},
nullif(coalesce(fact.summary, failure.summary), '') AS failure_summary,
coalesce(fact.fingerprint, failure.fingerprint) AS fingerprint

-- name: failure_of_fact  (fact.summary is null if the failure wasn't read, and empty if its summary is unknown)
LEFT JOIN LATERAL (
    SELECT d.summary, d.fingerprint, d.file FROM result_details d
    WHERE fact.summary IS NULL AND (fact.status <> 'p' OR fact.flaky)
      AND d.org_id = :org_id AND d.run_key = fact.run_key AND d.case_key = fact.case_key
      AND d.run_key BETWEEN :first_key AND :before_run AND {is_shown_failure} LIMIT 1
) failure ON true

-- name: is_shown_failure  (the row with the failure of a result; for a flaky result, that of its last failing attempt)
(d.is_last_attempt AND d.status <> 'p' OR d.flaky)

-- name: fact_columns
r.run_key, r.case_key, r.status, {each results.LISTED_COLUMNS: r.%}

-- name: fact_of_candidate  (the row of a candidate; LIMIT 1 keeps the planner from joining complete tables)
LEFT JOIN LATERAL (
    SELECT r.status, {each results.LISTED_COLUMNS: r.%}, {row_filters} AS matches FROM results r
    WHERE r.org_id = :org_id AND r.run_key = candidate.run_key AND r.case_key = candidate.case_key
      AND r.run_key BETWEEN :first_key AND :before_run LIMIT 1
) found ON true

-- name: failure_of_candidate  (the columns of `fact` that the row of a failure has)
coalesce(candidate.summary, '') AS summary, candidate.fingerprint, candidate.file

-- name: no_failure  (the columns of `fact` about a failure that wasn't read)
NULL::text AS summary, NULL::bigint AS fingerprint, NULL::text AS file

-- name: fact_of_key  (the columns of `fact` for a candidate)
candidate.run_key, candidate.case_key, found.status, {each results.LISTED_COLUMNS: found.%},
coalesce(found.matches, false) AS matches

-- name: fact_of_key_and_run
candidate.run_key, candidate.case_key, found.status, {each results.LISTED_COLUMNS: found.%},
coalesce(run.matches, false) AS matches

-- name: run_of_candidate  (whether the run of a candidate matches the filters of runs)
LEFT JOIN LATERAL (
    SELECT true AS matches FROM runs r
    WHERE found.matches AND r.org_id = :org_id AND r.run_key = candidate.run_key AND {run_filters} LIMIT 1
) run ON true

-- name: all_results  (in the order of the primary key)
WITH fact AS (
    SELECT r.*, {row_filters} AS matches, {no_failure}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT {fact_columns} FROM results r
        WHERE r.org_id = :org_id AND (r.run_key, r.case_key) < (:before_run, :before_case)
          AND r.run_key BETWEEN :first_key AND :before_run
          AND NOT EXISTS (SELECT FROM runs WHERE runs.org_id = :org_id AND runs.run_key = r.run_key AND NOT runs.trusted)
        ORDER BY r.run_key DESC, r.case_key DESC LIMIT {max_row_budget}
    ) r
    LIMIT :row_budget::int
)
{read_results}

-- name: all_not_passed
--     (results that didn't pass, also skipped and canceled ones, from result_details, which is smaller than results. Each
--     status has its own range of the index. The outer query sorts the first :rows of each status together.)
WITH fact AS (
    SELECT {fact_of_key}, {failure_of_candidate}, row_number() OVER () = :rows::int AS is_edge
    FROM (
        SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file
        FROM unnest(:statuses::text[]::"char"[]) AS selected (status)
        CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
            WHERE d.org_id = :org_id AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
              AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key BETWEEN :first_key AND :before_run
              AND {result_is_trusted}
            ORDER BY d.run_key DESC, d.case_key DESC LIMIT :rows::int
        ) d
        ORDER BY d.run_key DESC, d.case_key DESC LIMIT :rows::int
    ) candidate
    {fact_of_candidate}
    LIMIT :rows::int
)
{read_results}

-- name: all_flaky_results  (from the index of their failing attempts)
WITH fact AS (
    SELECT {fact_of_key}, {failure_of_candidate}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
        WHERE d.org_id = :org_id AND d.flaky AND (d.run_key, d.case_key) < (:before_run, :before_case)
          AND d.run_key BETWEEN :first_key AND :before_run
          AND {result_is_trusted}
        ORDER BY d.run_key DESC, d.case_key DESC LIMIT {max_row_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: result_is_trusted  (whether the run of a row of result_details is trusted, without its row: a lookup in the index of untrusted runs)
-- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
-- store 14,000 of them in each public project.
(SELECT true FROM runs untrusted WHERE untrusted.org_id = :org_id AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL

-- name: is_of_listed_run  (a condition of candidates, so that untrusted runs don't use the scan budget of lists without them)
(:trusted::bool IS NOT TRUE OR {result_is_trusted})

-- name: is_listed_case  (see is_of_listed_run)
(:trusted::bool IS NOT TRUE OR c.trusted)

-- name: not_passed_of_case  (all results of a case that didn't pass)
WITH fact AS (
    SELECT {fact_of_key_and_run}, {failure_of_candidate}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
        WHERE d.org_id = :org_id AND d.case_key = :case_key::bigint AND d.is_last_attempt AND d.status <> 'p'
          AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key BETWEEN :first_key AND :before_run
          AND {is_of_listed_run}
        ORDER BY d.run_key DESC LIMIT {max_row_budget}
    ) candidate
    {fact_of_candidate}
    {run_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: failures_of_group  (reads the failures with a fingerprint in each minute of their group)
-- The last minute within the budget ends with a row that isn't a result, at the start of the part of the minute that was read.
WITH fact AS (
    SELECT {fact_of_key_and_run}, {failure_of_candidate},
           candidate.is_end OR row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT failure.*
        FROM (
            SELECT minute, {keys_of_minute}, row_number() OVER () = {probe_budget} AS is_last FROM (
                SELECT DISTINCT g.minute FROM failure_group_minutes g
                WHERE g.org_id = :org_id AND g.fingerprint = :fingerprint
                  AND g.minute BETWEEN completion_minute(:first_key) AND completion_minute(:before_run)
                  AND first_run_key_of_minute(g.minute) < :before_run
                  AND (:first_key, (-9223372036854775808)::bigint) < (:before_run, :before_case) -- the range isn't read completely
                ORDER BY g.minute DESC LIMIT {probe_budget}
            ) minute
            OFFSET 0
        ) minute CROSS JOIN LATERAL (
            (SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file, false AS is_end
             FROM {failing_statuses} CROSS JOIN LATERAL (
                 SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
                 WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                   AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = :fingerprint
                   AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.run_key BETWEEN :first_key AND :before_run
                   AND {is_of_listed_run}
                 ORDER BY d.run_key DESC, d.case_key DESC LIMIT {probe_budget}
             ) d
             ORDER BY d.run_key DESC, d.case_key DESC LIMIT {probe_budget})
            UNION ALL
            SELECT greatest(minute.first_key, :first_key), (-9223372036854775808)::bigint, NULL, NULL, NULL, true WHERE minute.is_last
        ) failure
        LIMIT {probe_budget}
    ) candidate
    {fact_of_candidate}
    {run_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: failing_statuses  (of the results that have a fingerprint)
unnest('{f,e}'::"char"[]) AS failing (status)

-- name: keys_of_minute
--     (columns of a subquery, because row-level security prevents a function call from being an index condition)
first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key

-- name: results_of_runs  (every result of each run)
WITH fact AS (
    SELECT r.*, {row_filters} AS matches, {no_failure}, row_number() OVER () = :row_budget::int AS is_edge
    FROM unnest(:run_keys::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
        SELECT {fact_columns} FROM results r
        WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.run_key BETWEEN :first_key AND :before_run
          AND (r.run_key, r.case_key) < (:before_run, :before_case)
        ORDER BY r.case_key DESC LIMIT {max_row_budget}
    ) r
    LIMIT :row_budget::int
)
{read_results}

-- name: not_passed_of_runs
--     (that didn't pass, also skipped and canceled, from the smaller table: a run might have one among 20,000 results)
WITH fact AS (
    SELECT {fact_of_key}, {failure_of_candidate}, row_number() OVER () = :rows::int AS is_edge
    FROM (
        SELECT d.* FROM unnest(:run_keys::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file
            FROM unnest(:statuses::text[]::"char"[]) AS selected (status)
            CROSS JOIN LATERAL (
                SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
                WHERE d.org_id = :org_id AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
                  AND (d.run_key, d.case_key) < (:before_run, :before_case)
                ORDER BY d.case_key DESC LIMIT :rows::int
            ) d
            ORDER BY d.case_key DESC LIMIT :rows::int
        ) d
        LIMIT {max_row_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :rows::int
)
{read_results}

-- name: flaky_results_of_runs  (from the index of their failing attempts)
WITH fact AS (
    SELECT {fact_of_key}, {failure_of_candidate}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT d.* FROM unnest(:run_keys::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
            WHERE d.org_id = :org_id AND d.flaky AND d.run_key = run.run_key
              AND d.run_key BETWEEN :first_key AND :before_run AND (d.run_key, d.case_key) < (:before_run, :before_case)
            ORDER BY d.case_key DESC LIMIT {max_row_budget}
        ) d
        LIMIT {max_row_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: failures_of_group_in_runs  (all failures with a fingerprint)
WITH fact AS (
    SELECT {fact_of_key}, {failure_of_candidate}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT d.* FROM unnest(:run_keys::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file
            FROM {failing_statuses} CROSS JOIN LATERAL (
                SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
                WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
                  AND (d.run_key, d.case_key) < (:before_run, :before_case) AND d.fingerprint = :fingerprint
                ORDER BY d.case_key DESC LIMIT {probe_budget}
            ) d
            ORDER BY d.case_key DESC LIMIT {probe_budget}
        ) d
        LIMIT {probe_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: results_of_case_in_runs  (looks up the case once per run)
WITH fact AS (
    SELECT r.*, {row_filters} AS matches, {no_failure}, false AS is_edge
    FROM unnest(:run_keys::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
        SELECT {fact_columns} FROM results r
        WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.case_key = :case_key::bigint
          AND r.run_key BETWEEN :first_key AND :before_run AND (r.run_key, r.case_key) < (:before_run, :before_case)
        LIMIT 1
    ) r
)
{read_results}

-- name: results_of_case_id_in_runs  (for a case_id of several cases: each run has the variants of the case of its own project)
WITH fact AS (
    SELECT {fact_of_key}, {no_failure}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT run.run_key, c.case_key
        FROM unnest(:run_keys::uuid[], :project_ids::text[]) AS run (run_key, project_id) CROSS JOIN LATERAL (
            SELECT c.case_key FROM cases c
            WHERE c.org_id = :org_id AND c.case_id = :case_id::text AND c.project_id = run.project_id AND {is_listed_case}
              AND c.case_key < CASE WHEN run.run_key = :before_run THEN :before_case ELSE 9223372036854775807 END
            ORDER BY c.case_key DESC LIMIT {probe_budget}
        ) c
        LIMIT {probe_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: results_of_suite_in_runs  (looks up each case of the suite)
WITH fact AS (
    SELECT {fact_of_key}, {no_failure}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT run.run_key, c.case_key
        FROM unnest(:run_keys::uuid[], :project_ids::text[]) AS run (run_key, project_id) CROSS JOIN LATERAL (
            SELECT c.case_key FROM cases c
            WHERE c.org_id = :org_id AND c.project_id = run.project_id
              AND c.suite_hash = hashtextextended(:suite::text, 0) AND c.suite = :suite::text AND {is_listed_case}
              AND c.case_key < CASE WHEN run.run_key = :before_run THEN :before_case ELSE 9223372036854775807 END
            ORDER BY c.case_key DESC LIMIT {probe_budget}
        ) c
        LIMIT {probe_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: results_of_owner_in_runs  (looks up each case of the owner)
WITH fact AS (
    SELECT {fact_of_key}, {no_failure}, row_number() OVER () = :row_budget::int AS is_edge
    FROM (
        SELECT run.run_key, o.case_key
        FROM unnest(:run_keys::uuid[], :project_ids::text[]) AS run (run_key, project_id) CROSS JOIN LATERAL (
            SELECT o.case_key FROM case_owners o
            WHERE o.org_id = :org_id AND o.owner = :owner::text AND o.project_id = run.project_id
              AND o.case_key < CASE WHEN run.run_key = :before_run THEN :before_case ELSE 9223372036854775807 END
            ORDER BY o.case_key DESC LIMIT {probe_budget}
        ) o
        LIMIT {probe_budget}
    ) candidate
    {fact_of_candidate}
    LIMIT :row_budget::int
)
{read_results}

-- name: results_of_keys  (in this order, such as the results of a comparison)
WITH fact AS (
    SELECT {fact_of_key}, {no_failure}, false AS is_edge
    FROM unnest(:run_keys::uuid[], :case_keys::bigint[]) AS candidate (run_key, case_key)
    {fact_of_candidate}
)
{read_results}

-- name: sorted_by_duration  (the longest results of one run, of which none is omitted; one without a duration is the last one)
WITH candidate AS MATERIALIZED (
    {results_to_sort}
), fact AS (
    SELECT candidate.*, true AS matches, false AS is_edge FROM candidate
    WHERE :after_case::bigint IS NULL OR (-duration_ms, case_key) > (
        (
            SELECT -r.duration_ms FROM results r
            WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = :after_case::bigint LIMIT 1
        ), :after_case::bigint)
    ORDER BY -duration_ms, case_key LIMIT :page::int + 1
)
{read_results}

-- name: sorted_by_suite  (the results of one run in the order of file, suite, and name)
WITH candidate AS MATERIALIZED (
    {results_to_sort}
), fact AS (
    SELECT candidate.*, true AS matches, false AS is_edge FROM candidate CROSS JOIN LATERAL (
        SELECT {names_of_case} AS names FROM cases c WHERE c.org_id = :org_id AND c.case_key = candidate.case_key LIMIT 1
    ) sorted
    WHERE :after_case::bigint IS NULL OR (sorted.names, candidate.case_key) > (
        (SELECT {names_of_case} FROM cases c WHERE c.org_id = :org_id AND c.case_key = :after_case::bigint LIMIT 1),
        :after_case::bigint)
    ORDER BY sorted.names, candidate.case_key LIMIT :page::int + 1
)
{read_results}

-- name: results_to_sort  (every result of a run that matches; with :has_details, from the smaller table)
SELECT {fact_columns}, r.summary, r.fingerprint, r.file FROM (
    SELECT {fact_columns}, {no_failure}, {row_filters} AS matches FROM results r
    WHERE NOT :has_details::bool AND r.org_id = :org_id AND r.run_key = :run_key
    UNION ALL
    SELECT candidate.run_key, candidate.case_key, found.status,
           {each results.LISTED_COLUMNS: found.%},
           candidate.summary, candidate.fingerprint, candidate.file, found.matches
    FROM (
        SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
        WHERE :has_details::bool AND d.org_id = :org_id AND d.run_key = :run_key AND {is_shown_failure}
          AND (:fingerprint::bigint IS NULL OR d.fingerprint = :fingerprint)
        LIMIT {read_budget}
    ) candidate
    {fact_of_candidate}
) r LEFT JOIN LATERAL (
    SELECT true AS matches FROM cases c
    WHERE :filters_cases::bool AND c.org_id = :org_id AND c.case_key = r.case_key AND {case_conditions} LIMIT 1
) c ON true
WHERE r.matches AND (c.matches OR NOT :filters_cases::bool)

-- name: names_of_case  (in the order of their bytes, which is independent of the settings of the database)
ARRAY[coalesce(c.file, ''), c.suite, c.name] COLLATE "C"

-- name: sortable_run
SELECT r.revision, r.passed + r.failed + r.error + r.skipped + r.canceled AS results FROM runs r
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)

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

-- name: run_matches  (whether a run matches the filters of an export and has results that match)
({run_filters}
 AND {matching_results} > 0)

-- name: one_result
--     (the fields of the result and of its run, and the other fields of ResultDetailRow; each table by the parameters, so
--     that the executor opens only the partition of the run; :first_key and :before_run are the key of the run)
SELECT
    {result_fields},
    {run_fields},
    {organization_id},
    last_attempt.line, coalesce(last_attempt.properties, '{}') AS properties, last_attempt.logs_ref,
    fact.type, fact.message, fact.details,
    job.part, array_position(job.ranked, fact.shard) AS job_attempt, coalesce(earlier.attempts, passed.attempts) AS attempts
FROM (
    SELECT {fact_columns}, r.shard, shown.* FROM results r
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file, d.type, d.message, d.details FROM result_details d
        WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key
          AND CASE WHEN r.flaky THEN d.flaky ELSE d.is_last_attempt END
        LIMIT 1
    ) shown ON true
    WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = :case_key
) fact
JOIN runs r ON r.org_id = :org_id AND r.run_key = fact.run_key
JOIN cases c ON c.org_id = :org_id AND c.case_key = fact.case_key
{failure_of_fact}
CROSS JOIN LATERAL (
    SELECT r.run_id, r.project_id, r.environment, r.branch, {completed_ms} AS completed_ms
) run
LEFT JOIN LATERAL (
    SELECT d.logs_ref, d.line, d.properties FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key AND d.is_last_attempt
    LIMIT 1
) last_attempt ON true
CROSS JOIN LATERAL (  -- the numbers of the attempts of the part that decides; only a part with such a number has attempts
    SELECT nullif(max(deciding.name), '') AS part, array_agg(part.number ORDER BY part.attempt) AS numbers,
           array_agg(part.number ORDER BY part.attempt) FILTER (WHERE part.attempt > 0) AS ranked
    FROM run_parts deciding
    JOIN run_parts part ON part.org_id = :org_id AND part.run_key = :run_key AND part.name = deciding.name
                           AND part.variant = deciding.variant AND part.shard = deciding.shard
    WHERE fact.shard > 10000 AND deciding.org_id = :org_id AND deciding.run_key = :run_key
          AND deciding.number = fact.shard
) job
CROSS JOIN LATERAL (  -- the fields of AttemptRow
    SELECT jsonb_agg(
        jsonb_build_array(d.attempt, status_name(d.status), known_duration(d.duration_ms),
             run.completed_ms + nullif(d.started_offset_ms, (-2147483648)::int), d.type, d.message, d.details, d.logs_ref,
             array_position(job.ranked, d.shard)) ORDER BY d.attempt) AS attempts
    FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = :run_key AND d.case_key = :case_key
) earlier
CROSS JOIN LATERAL (  -- if all attempts of the job passed, no execution has details
    SELECT jsonb_agg(
        jsonb_build_array(number, status_name(fact.status), known_duration(duration_ms),
             run.completed_ms + nullif(started_offset_ms, (-2147483648)::int), NULL, NULL, NULL, NULL,
             array_position(job.ranked, shard)) ORDER BY number) AS attempts
    FROM (
        SELECT row_number() OVER (ORDER BY array_position(job.numbers, s.shard)) AS number, s.shard,
               (s.result -> 'duration_ms')::int AS duration_ms, (s.result -> 'started_offset_ms')::int AS started_offset_ms
        FROM shard_results s
        WHERE fact.attempts > 1 AND fact.shard > 10000 AND s.org_id = :org_id AND s.run_key = :run_key
              AND s.case_key = :case_key AND s.shard = ANY (job.numbers)
              AND s.result ->> 'status' = fact.status::text  -- not an attempt that skipped the case
    ) attempt
) passed
WHERE :project_id::text IS NULL OR r.project_id = :project_id
