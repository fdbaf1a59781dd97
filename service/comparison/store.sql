-- The comparison of a run with its window, and what the run lacks compared with its baseline. A removed case was executed in
-- the baseline and has no result in the run.

-- name: find_compared_parts(org_id, run_key, baseline_key, window)
--     (those of the run or the baseline, which is one of the runs of the window)
-- A part of the run without results counts if an event states its status, which `allow_empty` does.
WITH stated AS MATERIALIZED (
    SELECT :run_key::uuid AS run_key, version.key::int AS number
    FROM runs CROSS JOIN LATERAL jsonb_each(shard_versions) version
    WHERE org_id = :org_id AND run_key = :run_key AND version.value ->> 2 IS NOT NULL
)
SELECT name, variant, shard,
       bool_or(run_key = :run_key AND (has_results OR stated.number IS NOT NULL)) AS is_accepted,
       count(DISTINCT run_key) FILTER (WHERE has_results AND run_key = ANY (:window::uuid[])) AS runs,
       coalesce(array_agg(number) FILTER (WHERE has_results AND run_key = :baseline_key), '{}') AS numbers
FROM run_parts LEFT JOIN stated USING (run_key, number)
WHERE org_id = :org_id AND run_key = ANY (array_append(:window::uuid[], :run_key::uuid))
GROUP BY name, variant, shard
HAVING bool_or(run_key IN (:run_key, :baseline_key))

-- name: find_removed_cases(org_id, run_key, baseline_key, max_listed)
--     (of the run and the baseline: one row per set of parts that executed the same cases)
-- Example: 40 cases of the jobs 10001 and 10002 are one row with both numbers, the count 40, and the first :max_listed cases.
SELECT numbers, count(*) AS cases, (array_agg(case_key ORDER BY case_key))[: :max_listed::int] AS first_cases
FROM (
    SELECT case_key, array_agg(DISTINCT there.number ORDER BY there.number) AS numbers
    FROM (
        SELECT case_key, shard AS number FROM results
        WHERE org_id = :org_id AND run_key = :baseline_key AND status IN ('p', 'f', 'e')
        UNION ALL
        SELECT case_key, shard FROM shard_results
        WHERE org_id = :org_id AND run_key = :baseline_key AND result ->> 'status' IN ('p', 'f', 'e')
    ) there
    WHERE NOT EXISTS (SELECT FROM results r WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = there.case_key)
    GROUP BY case_key
) removed
GROUP BY numbers

-- name: compared_run_fields
r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.commit_sha, r.completed_at, r.revision, r.complete,
status_name(r.status) AS status, r.failures_missing, r.results_expired, r.created_at,
coalesce(r.sent_at_once, false) AS sent_at_once,
r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky, {is_trusted} AS trusted

-- name: compared_run  (with the branch of its baseline)
SELECT {compared_run_fields},
       coalesce(r.base_branch, project.default_branch, 'main') AS baseline_branch
FROM runs r LEFT JOIN LATERAL (
    SELECT p.default_branch FROM projects p WHERE p.org_id = :org_id AND p.project_id = r.project_id LIMIT 1
) project ON true
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)

-- name: window_of_run  (the newest baseline candidates among at most {examined_runs} trusted runs of the branch)
SELECT {compared_run_fields}
FROM (
    SELECT * FROM runs r
    WHERE org_id = :org_id AND project_id = :project_id AND branch = :branch AND run_key < :run_key AND {is_trusted}
    ORDER BY run_key DESC LIMIT {examined_runs}
) r
WHERE {is_baseline_candidate}
ORDER BY r.run_key DESC LIMIT {window_runs}

-- name: is_baseline_candidate
{is_candidate} AND r.environment IS NOT DISTINCT FROM :environment

-- name: next_candidate  (the oldest baseline candidate of a branch that is newer than a run)
SELECT {compared_run_fields} FROM runs r
WHERE r.org_id = :org_id AND r.project_id = :project_id AND r.branch = :branch AND r.run_key > :run_key AND {is_trusted}
  AND {is_baseline_candidate}
ORDER BY r.run_key LIMIT 1

-- name: find_newest_run(org_id, project_id)
SELECT r.run_key FROM runs r WHERE r.org_id = :org_id AND r.project_id = :project_id AND {is_trusted}
ORDER BY r.run_key DESC LIMIT 1

-- name: replayed_runs  (complete, failing runs of pull requests, and whether a pull request has no newer complete run)
SELECT r.run_key, r.run_id, r.pull_request, NOT EXISTS (
    SELECT 1 FROM runs newer
    WHERE newer.org_id = :org_id AND newer.pull_request = r.pull_request AND newer.run_key > r.run_key
      AND newer.project_id = r.project_id AND newer.environment IS NOT DISTINCT FROM r.environment
      AND newer.complete AND newer.status <> 'c' AND NOT newer.results_expired AND newer.trusted IS NOT FALSE
) AS is_last
FROM runs r
WHERE r.org_id = :org_id AND r.project_id = :project_id AND r.run_key > :run_key::uuid AND r.pull_request IS NOT NULL
  AND r.failed + r.error > 0 AND {is_candidate} AND {is_trusted}
ORDER BY r.run_key LIMIT :page::int

-- name: has_branch
SELECT EXISTS (SELECT 1 FROM runs r WHERE org_id = :org_id AND project_id = :project_id AND branch = :branch AND {is_trusted})

-- name: failing_results  (from the smaller table; the first ones by key)
SELECT coalesce(array_agg(case_key ORDER BY case_key), '{}')
FROM (
    SELECT candidate.case_key
    FROM unnest('{f,e}'::"char"[]) AS failing (status)
    CROSS JOIN LATERAL (
        SELECT d.case_key FROM result_details d
        WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key = :run_key
        ORDER BY d.case_key LIMIT {max_failing}
    ) candidate
    ORDER BY candidate.case_key LIMIT {max_failing}
) first_failing

-- name: texts_of_cases  (that a quarantine compares)
-- If no trusted run contains the case, the code of forks has stated its name. With a case_id, this can be the code of another
-- fork than that of the run, so that no glob excuses failures. Without a case_id, the name is the identity of the case.
SELECT key.case_key, c.suite, c.name, c.variant, c.is_of_forks
FROM unnest(:case_keys::bigint[]) AS key (case_key)
CROSS JOIN LATERAL (
    SELECT suite, name, variant, (NOT trusted OR promoted IS TRUE) AND case_id IS NOT NULL AS is_of_forks
    FROM cases WHERE org_id = :org_id AND case_key = key.case_key LIMIT 1
) c

-- name: results_in_window
--     (of some cases, one row per run: the index looks up each case; LIMIT keeps the planner from scanning)
SELECT past.run_key, array_agg(result.case_key) AS case_keys, string_agg(result.status::text, '') AS statuses,
       array_agg(result.flaky) AS flaky
FROM unnest(:run_keys::uuid[]) AS past (run_key)
CROSS JOIN LATERAL (
    SELECT r.case_key, r.status, r.flaky FROM results r
    WHERE r.org_id = :org_id AND r.run_key = past.run_key AND r.run_key BETWEEN :first_key AND :before_run
      AND r.case_key = ANY (:case_keys::bigint[])
    LIMIT {max_failing}
) result
GROUP BY past.run_key

-- name: retried_results  (the given cases of a run that have several attempts)
SELECT coalesce(array_agg(r.case_key), '{}') FROM results r
WHERE r.org_id = :org_id AND r.run_key = :run_key AND r.case_key = ANY (:case_keys::bigint[]) AND r.attempts > 1

-- name: merged_results  (of the run and its baseline: the count of each pair of statuses, and a page of the selected pairs)
WITH merged AS MATERIALIZED (
    SELECT case_key, coalesce(here.status, '-') AS status, coalesce(there.status, '-') AS baseline_status
    FROM (SELECT case_key, status FROM results WHERE org_id = :org_id AND run_key = :run_key) here
    FULL JOIN (
        SELECT case_key, status FROM results WHERE org_id = :org_id AND run_key = :baseline_key::uuid
    ) there USING (case_key)
), counted AS (
    SELECT coalesce(array_agg(status::text || baseline_status::text), '{}') AS pairs,
           coalesce(array_agg(count), '{}') AS counts
    FROM (SELECT status, baseline_status, count(*) FROM merged GROUP BY status, baseline_status) grouped
), page AS (
    SELECT coalesce(array_agg(case_key ORDER BY rank, case_key), '{}') AS case_keys,
           coalesce(array_agg(pair ORDER BY rank, case_key), '{}') AS page_pairs
    FROM (
        SELECT selected.rank, merged.case_key, status::text || baseline_status::text AS pair
        FROM merged JOIN (
            SELECT left(pair, 1)::"char" AS status, right(pair, 1)::"char" AS baseline_status, rank
            FROM unnest(:pairs::text[], :ranks::int[]) AS given (pair, rank)
        ) selected USING (status, baseline_status)
        WHERE (selected.rank, merged.case_key) > (:after_rank::int, :after_case::bigint)
        ORDER BY selected.rank, merged.case_key LIMIT :page
    ) ordered
)
SELECT counted.pairs, counted.counts, page.case_keys, page.page_pairs FROM counted, page
