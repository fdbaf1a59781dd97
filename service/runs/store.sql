-- Runs: the rows of a page, one run, and the runs that other statements request.
--
-- A list of runs or results examines *candidates*: the runs that one index yields, newest first. It reads at most
-- :run_budget candidates per page, the *scan budget*, and returns those that match the filters and have matching results, at
-- most :page of them. A run keeps its counts after its results have expired. The other filters are conditions, because they
-- don't choose the index. The last candidate within the budget is the *edge*: the next page starts after it even if it
-- doesn't match. For example, with a budget of 3 and candidates 9 (matches), 8, 7, and 6, the rows are 9 and 7 (is_edge).

-- name: insert_new(rows)  (sorted by ID, to prevent deadlocks; without a conflict target, because key and ID are both unique)
INSERT INTO runs
SELECT new.*
FROM jsonb_populate_recordset(
    jsonb_populate_record(NULL::runs, jsonb_build_object('created_at', now(), 'pinned', false)),
    :rows::text::jsonb) new
ORDER BY org_id, run_id
ON CONFLICT DO NOTHING
RETURNING org_id, run_id

-- name: find_run_id(org_id, run_key)
SELECT run_id FROM runs WHERE org_id = :org_id AND run_key = :run_key

-- name: find_origin(org_id, run_id, run_key, project_id)  (by ID or key, optionally of a project)
SELECT run_id, pipeline, branch FROM runs
WHERE org_id = :org_id AND (run_id = :run_id OR run_key = :run_key) AND {is_of_project}

-- name: is_untrusted_of_project(org_id, run_id, project_id)  (no row if the run doesn't exist)
SELECT NOT coalesce(trusted, true) AND project_id = :project_id FROM runs WHERE org_id = :org_id AND run_id = :run_id

-- name: lock_untrusted(org_id, run_key)  (its promotion waits for the end of the transaction; no row if it's trusted)
SELECT 1 FROM runs WHERE org_id = :org_id AND run_key = :run_key AND NOT trusted FOR SHARE

-- name: set_pinned(org_id, run_id, project_id, pinned)  (an untrusted run can't be pinned, because its hidden cases expire)
UPDATE runs SET pinned = :pinned AND trusted IS NOT FALSE
WHERE org_id = :org_id AND run_id = :run_id AND {is_of_project} RETURNING pinned = :pinned

-- name: update(org_id, run_key, row)
--     (all columns that a merge can change; versions of fields of a later version of the service stay)
UPDATE runs SET
    {each runs.STATED_FIELDS: % = new.%},
    failures_missing = new.failures_missing, shard_versions = new.shard_versions, part_spans = new.part_spans,
    field_versions = runs.field_versions || new.field_versions, status = new.status, stated_status = new.stated_status,
    status_event_s = new.status_event_s, passed = new.passed, failed = new.failed, error = new.error,
    skipped = new.skipped, canceled = new.canceled, flaky = new.flaky, complete = new.complete,
    closed = new.closed, sent_at_once = new.sent_at_once, has_been_complete = new.has_been_complete,
    expected_results = new.expected_results, expected_shards = new.expected_shards, shards = new.shards,
    started_at = new.started_at, last_completed_at = new.last_completed_at, duration_ms = new.duration_ms,
    revision = new.revision, awaited_receipts = new.awaited_receipts
FROM jsonb_populate_record(NULL::runs, :row::text::jsonb) new
WHERE runs.org_id = :org_id AND runs.run_key = :run_key

-- name: close(org_id, run_key, revision, status)  (the API closes a run, whose other columns it can't change)
UPDATE runs SET complete = true, closed = true, has_been_complete = true, revision = :revision, status = :status::text::"char"
WHERE org_id = :org_id AND run_key = :run_key

-- name: insert_parts(org_ids, run_keys, numbers, names, variants, shards, attempts, has_results)
--     (sorted; no row changes if the part is stored already)
INSERT INTO run_parts AS known (org_id, run_key, number, name, variant, shard, attempt, has_results)
SELECT org_id, run_key, number, name, variant::jsonb, shard, attempt, has_results
FROM unnest(:org_ids::int[], :run_keys::uuid[], :numbers::int[], :names::text[], :variants::text[], :shards::int[], :attempts::bigint[], :has_results::bool[])
    AS new (org_id, run_key, number, name, variant, shard, attempt, has_results)
ORDER BY org_id, run_key, number
ON CONFLICT (org_id, run_key, number) DO UPDATE SET has_results = true
    WHERE excluded.has_results AND NOT known.has_results

-- name: run_fields  (RunRow in service/runs/model.py without organization_id, in the order of its fields, with one column per count)
r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url,
{each runs.CONTEXT_FIELDS: r.%}, r.labels, status_name(r.status) AS status, r.failures_missing, r.complete,
r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky,
r.expected_results, r.expected_shards, r.revision,
{started_ms} AS started_ms, {completed_ms} AS completed_ms, {last_completed_ms} AS last_completed_ms,
r.duration_ms, r.results_expired, r.pinned, {is_trusted} AS trusted

-- name: organization_id  (only in statements that read one row: with it, Citus copies the rows of each subquery between servers)
(SELECT slug FROM organizations WHERE org_id = :org_id LIMIT 1) AS organization_id

-- name: started_ms  (milliseconds since 1970, which a double precision number represents exactly enough to be rounded)
(date_part('epoch', r.started_at) * 1000)::bigint

-- name: completed_ms
(date_part('epoch', r.completed_at) * 1000)::bigint

-- name: last_completed_ms
(date_part('epoch', r.last_completed_at) * 1000)::bigint

-- name: one_run  (with its parts: the highest attempt of each, as its rank among the attempts of the part)
SELECT
    {run_fields},
    {organization_id},
    (
        SELECT jsonb_agg(jsonb_build_array(part, variant, shard, attempt) ORDER BY part, variant, shard) FROM (
            SELECT nullif(p.name, '') AS part, p.variant, nullif(p.shard, 0) AS shard,
                   nullif(count(*) FILTER (WHERE p.attempt > 0), 0) AS attempt
            FROM run_parts p WHERE p.org_id = :org_id AND p.run_key = r.run_key
            GROUP BY p.name, p.variant, p.shard
        ) part
    ) AS parts
FROM runs r
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)

-- name: is_candidate  (whether a run has results with which others are compared; its branch and environment must match too)
r.complete AND r.passed + r.failed + r.error > 0 AND r.status <> 'c' AND NOT r.results_expired

-- name: is_trusted  (whether a run is trusted; null: stored by an earlier version)
(r.trusted IS NOT FALSE)

-- name: run_is_trusted  (whether a run is trusted, for statements that read only an index of `runs`: see result_is_trusted of results)
(SELECT true FROM runs untrusted WHERE untrusted.org_id = :org_id AND untrusted.run_key = runs.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL

-- name: run_filters  (the filters of runs, for lists and for exports; SELECT parses the labels once)
(:trusted::bool IS NULL OR {is_trusted} = :trusted::bool)
AND (:project_id::text IS NULL OR r.project_id = :project_id) AND (:environment::text IS NULL OR r.environment = :environment)
AND (:branch::text IS NULL OR r.branch = :branch)
AND (:commit_sha::text IS NULL OR starts_with(r.commit_sha, :commit_sha))
AND (:pull_request::text IS NULL OR r.pull_request = :pull_request)
AND (:pipeline::text IS NULL OR r.pipeline = :pipeline) AND (:author::text IS NULL OR r.author = :author)
AND (:labels::text[] IS NULL OR r.labels @> ALL ((SELECT :labels::text[]::jsonb[])::jsonb[]))

-- name: filter_suggestions_of_organization
WITH newest AS MATERIALIZED (
    SELECT row_number() OVER () AS run_no, author, pull_request, title FROM (
        SELECT author, pull_request, title FROM runs r WHERE org_id = :org_id AND {is_trusted} ORDER BY run_key DESC LIMIT {read_runs}
    ) r
)
{filter_suggestions}

-- name: filter_suggestions_of_project
WITH newest AS MATERIALIZED (
    SELECT row_number() OVER () AS run_no, author, pull_request, title FROM (
        SELECT author, pull_request, title FROM runs r
        WHERE org_id = :org_id AND project_id = :project_id AND {is_trusted} ORDER BY run_key DESC LIMIT {read_runs}
    ) r
)
{filter_suggestions}

-- name: filter_suggestions  (values of `newest`, newest first; a pull request has its newest title)
(
    SELECT author, NULL::text AS pull_request, NULL::text AS title FROM newest WHERE author IS NOT NULL
    GROUP BY author ORDER BY min(run_no) LIMIT :suggestions::int
)
UNION ALL
(
    SELECT NULL, pull_request, (array_agg(title ORDER BY run_no) FILTER (WHERE title IS NOT NULL))[1]
    FROM newest WHERE pull_request IS NOT NULL
    GROUP BY pull_request ORDER BY min(run_no) LIMIT :suggestions::int
)

-- name: shards_of_run
SELECT r.shards FROM runs r WHERE r.org_id = :org_id AND r.run_key = :run_key

-- name: complete_runs  (the requested runs that are complete)
SELECT requested.org_id, requested.run_id, requested.project_id
FROM unnest(:org_ids::int[], :run_ids::text[], :project_ids::text[]) AS requested (org_id, run_id, project_id)
CROSS JOIN LATERAL (
    SELECT 1 FROM runs r
    WHERE r.org_id = {requested_organization} AND r.run_id = requested.run_id AND r.complete
      AND (requested.project_id IS NULL OR r.project_id = requested.project_id) LIMIT 1
) run

-- name: assigned_parts  (of the requested runs)
SELECT part.run_key, part.number, part.name, part.variant, part.shard, part.attempt
FROM unnest(:org_ids::int[], :run_keys::uuid[]) AS requested (org_id, run_key)
JOIN run_parts part ON part.org_id = {requested_organization} AND part.run_key = requested.run_key
WHERE part.number > 10000

-- name: locked_runs  (in the order of insert_new; a transaction must lock a run before it merges results)
SELECT run.*
FROM unnest(:org_ids::int[], :run_ids::text[]) AS requested (org_id, run_id)
JOIN runs run ON run.org_id = {requested_organization} AND run.run_id = requested.run_id
ORDER BY run.org_id, run.run_id
FOR UPDATE OF run

-- name: key_of_run
SELECT r.run_key FROM runs r WHERE r.org_id = :org_id AND r.run_id = :run_id

-- name: creation_of_runs  (distinguishes a run from a deleted one with the same key)
SELECT r.run_key, r.created_at FROM runs r WHERE r.org_id = :org_id AND r.run_key = ANY (:run_keys::uuid[])

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

-- name: listed_in_range
run_key BETWEEN :first_key AND :before_run AND {is_listed}

-- name: candidate_runs  (`selected` is the condition of an index in candidates.py)
WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = :org_id AND {selected}
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
        WHERE org_id = :org_id AND commit_sha = requested.commit_sha AND {listed_in_range}
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
