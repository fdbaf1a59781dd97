-- The runs that a list of runs or results examines, newest first: one statement for each index that yields them.
--
-- Each statement returns the runs that match the filters and have matching results, at most :page of them. A run keeps its
-- counts after its results have expired. The other filters are conditions, because they don't choose the index. A row with
-- `is_edge` is the last one within the scan budget of :run_budget runs: the next page starts after it even if it doesn't match.

-- name: matching_runs  (the constant end of each statement; the columns of `listed` are null unless :lists_runs is true)
SELECT r.run_key, r.project_id, r.results, r.matches, r.is_edge, listed.*
FROM (
    SELECT r.*, {matching_results} AS results, row_number() OVER () = :run_budget::int AS is_edge,
           {run_filters}
           AND CASE WHEN :lists_runs::bool THEN {run_states} ELSE {matching_results} > 0 AND NOT r.results_expired END AS matches
    FROM (SELECT * FROM candidate LIMIT :run_budget::int) r
) r
LEFT JOIN LATERAL (
    SELECT
        {run_fields}
    WHERE :lists_runs::bool AND r.matches
) listed ON true
WHERE r.matches OR r.is_edge LIMIT :page::int

-- name: run_states  (the filters of the list of runs that mean something else in the list of results)
r.status = ANY (:statuses::text[]::"char"[]) AND (:flaky::bool IS NULL OR (r.flaky > 0) = :flaky::bool)

-- name: is_listed  (a condition of the candidates, so that untrusted runs don't use the scan budget of lists without them)
(:trusted::bool IS NOT TRUE OR trusted IS NOT FALSE)

-- name: runs_of_organization  (all runs)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: untrusted_runs  (all untrusted runs)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND NOT trusted AND run_key BETWEEN :first_key AND :before_run
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_environment  (the runs of an environment)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND environment = :environment AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_branch  (the runs of a branch)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND branch = :branch AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_pipeline  (the runs of a CI pipeline)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND pipeline = :pipeline AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_pull_request  (the runs of the pull requests with a number, which can be of several projects)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND pull_request = :pull_request AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_author  (the runs of an author)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND author = :author AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project  (the runs of a project)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project_and_branch  (the runs of a branch of a project)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND branch = :branch AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project_with_failed  (the runs of a project with failed results)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND failed > 0 AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project_with_error  (the runs of a project with error results)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND error > 0 AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project_with_skipped  (the runs of a project with skipped results)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND skipped > 0 AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project_with_canceled  (the runs of a project with canceled results)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND canceled > 0 AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: runs_of_project_with_flaky  (the runs of a project with flaky results)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND project_id = :project_id AND flaky > 0 AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
    ORDER BY run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: run_of_id  (the run with a run_id)
WITH candidate AS (
    SELECT * FROM runs WHERE org_id = :org_id AND run_id = :run_id AND run_key BETWEEN :first_key AND :before_run
)
{matching_runs}

-- name: runs_of_commits  (one range of the index for each commit)
WITH candidate AS (
    SELECT candidate.* FROM unnest(:commits::text[]) AS requested (commit_sha) CROSS JOIN LATERAL (
        SELECT * FROM runs
        WHERE org_id = :org_id AND commit_sha = requested.commit_sha AND run_key BETWEEN :first_key AND :before_run AND {is_listed}
        ORDER BY run_key DESC LIMIT {run_budget}
    ) candidate
    ORDER BY candidate.run_key DESC LIMIT {run_budget}
)
{matching_runs}

-- name: commits  (the commits that begin with these digits; each step skips all runs of a commit)
WITH RECURSIVE commit AS (
    (
        SELECT commit_sha FROM runs
        WHERE org_id = :org_id AND commit_sha ~>=~ :commit_sha AND commit_sha ~<~ (:commit_sha || chr(1114111)) AND {is_listed}
        ORDER BY commit_sha USING ~<~ LIMIT 1
    )
    UNION ALL
    SELECT later.commit_sha FROM commit CROSS JOIN LATERAL (
        SELECT commit_sha FROM runs
        WHERE org_id = :org_id AND commit_sha ~>~ commit.commit_sha AND commit_sha ~<~ (:commit_sha || chr(1114111)) AND {is_listed}
        ORDER BY commit_sha USING ~<~ LIMIT 1
    ) later
)
SELECT commit_sha FROM commit LIMIT :max_commits::int
