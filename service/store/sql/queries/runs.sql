-- The list of runs and one run, as fragments (see results.sql).

-- name: page_of_runs  (`data` is null for a page that might be large: large_page_of_runs reads it)
WITH examined AS MATERIALIZED (
    {examined_runs}
)
SELECT CASE WHEN page.data IS NULL THEN '[]'
            WHEN octet_length(page.data) < {page_bytes} THEN '[' || page.data || ']' END AS data,
       page_edge.run_key
FROM (
    SELECT string_agg(item, ',' ORDER BY run_key DESC) AS data FROM (
        SELECT
            r.run_key, {run_json} AS item
        FROM runs r
        WHERE r.org_id = :org_id
          AND r.run_key = ANY (ARRAY(SELECT run_key FROM examined WHERE matches LIMIT :page::int))
    ) written OFFSET 0
) page
LEFT JOIN LATERAL (  -- the last row of a full page, or the last one within the budget
    SELECT last.run_key
    FROM (SELECT count(*) AS row_count, count(*) FILTER (WHERE matches) AS match_count FROM examined) counted
    CROSS JOIN LATERAL (
        SELECT run_key, is_edge FROM examined
        OFFSET greatest(CASE WHEN match_count > :page::int THEN :page::int ELSE row_count END - 1, 0) LIMIT 1
    ) last
    WHERE row_count > :page::int OR last.is_edge
) page_edge ON true

-- name: examined_runs  (the candidates that match, and the last one within the budget)
SELECT run_key, matches, is_edge FROM (
    SELECT
        r.run_key, row_number() OVER () = {run_budget} AS is_edge,
        {run_filters}
        AND r.status = ANY (:statuses::text[]::"char"[])
        AND (:flaky::bool IS NULL OR (r.flaky > 0) = :flaky::bool) AS matches
    FROM (
        {candidates}
    ) r
) examined
WHERE matches OR is_edge LIMIT :page::int + 1

-- name: large_page_of_runs  (of which a page contains the first runs, until it is large)
WITH examined AS MATERIALIZED (
    {examined_runs}
), numbered AS MATERIALIZED (
    SELECT run_key, matches, is_edge, row_number() OVER () AS row_no, count(*) OVER () AS row_count,
           CASE WHEN count(*) FILTER (WHERE matches) OVER () > :page::int THEN :page::int
                ELSE count(*) OVER () END AS page_rows
    FROM examined
), sized AS MATERIALIZED (
    SELECT run_key, row_no, item,
           sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < {page_bytes} AS fits
    FROM (
        SELECT key.run_key, key.row_no, run.item FROM numbered key
        CROSS JOIN LATERAL (
            SELECT
                {run_json} AS item
            FROM runs r WHERE r.org_id = :org_id AND r.run_key = key.run_key LIMIT 1
        ) run
        WHERE key.matches AND key.row_no <= key.page_rows
    ) listed
)
SELECT '[' || coalesce((SELECT string_agg(item, ',' ORDER BY row_no) FROM sized WHERE fits), '') || ']' AS data,
       coalesce(full_page.run_key, page_end.run_key) AS run_key
FROM (SELECT) one_row
LEFT JOIN LATERAL (
    SELECT run_key FROM numbered WHERE row_no = page_rows AND (row_count > :page::int OR is_edge)
) page_end ON true
LEFT JOIN LATERAL (
    SELECT run_key FROM sized WHERE fits AND EXISTS (SELECT 1 FROM sized WHERE NOT fits) ORDER BY row_no DESC LIMIT 1
) full_page ON true

-- name: run_filters  (the filters of runs, for the lists of runs and results and for exports; SELECT parses the labels once)
(:project_id::text IS NULL OR r.project_id = :project_id) AND (:environment::text IS NULL OR r.environment = :environment)
AND (:branch::text IS NULL OR r.branch = :branch)
AND (:commit_sha::text IS NULL OR starts_with(r.commit_sha, :commit_sha))
AND (:pull_request::text IS NULL OR r.pull_request = :pull_request)
AND (:labels::text[] IS NULL OR r.labels @> ALL ((SELECT :labels::text[]::jsonb[])::jsonb[]))

-- name: candidates  (the newest runs in one range of an index, which {driver} chooses)
SELECT * FROM runs
WHERE org_id = :org_id AND {driver} AND run_key BETWEEN :first_key AND :before_run
ORDER BY run_key DESC LIMIT {run_budget}

-- name: candidates_of_commits  (one range of the index for each commit)
SELECT candidate.* FROM unnest(:commits::text[]) AS requested (commit_sha) CROSS JOIN LATERAL (
    SELECT * FROM runs
    WHERE org_id = :org_id AND commit_sha = requested.commit_sha AND run_key BETWEEN :first_key AND :before_run
    ORDER BY run_key DESC LIMIT {run_budget}
) candidate
ORDER BY candidate.run_key DESC LIMIT {run_budget}

-- name: commits  (the commits that begin with these digits; each step skips all runs of a commit)
WITH RECURSIVE commit AS (
    (
        SELECT commit_sha FROM runs
        WHERE org_id = :org_id AND commit_sha ~>=~ :commit_sha AND commit_sha ~<~ (:commit_sha || chr(1114111))
        ORDER BY commit_sha USING ~<~ LIMIT 1
    )
    UNION ALL
    SELECT later.commit_sha FROM commit CROSS JOIN LATERAL (
        SELECT commit_sha FROM runs
        WHERE org_id = :org_id AND commit_sha ~>~ commit.commit_sha AND commit_sha ~<~ (:commit_sha || chr(1114111))
        ORDER BY commit_sha USING ~<~ LIMIT 1
    ) later
)
SELECT commit_sha FROM commit LIMIT {max_commits}

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

-- name: driver_project_with_flaky
project_id = :project_id AND flaky > 0

-- name: driver_environment
environment = :environment

-- name: driver_any
true

-- name: run_json  (the public run object: in the list, as one run, and in one result; functions for JSON take twice as long)
'{"id":' || to_json(r.run_id)
|| ',"organization_id":' || to_json((SELECT slug FROM organizations WHERE org_id = :org_id LIMIT 1))
|| ',"run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
|| ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
|| ',"branch":' || coalesce(to_json(r.branch)::text, 'null')
|| ',"base_branch":' || coalesce(to_json(r.base_branch)::text, 'null')
|| ',"commit_sha":' || coalesce(to_json(r.commit_sha)::text, 'null')
|| ',"pull_request":' || coalesce(to_json(r.pull_request)::text, 'null')
|| ',"ci_url":' || coalesce(to_json(r.ci_url)::text, 'null') || ',"labels":' || r.labels
|| ',"status":"' || status_name(r.status) || '","failures_missing":' || r.failures_missing::text
|| ',"complete":' || r.complete::text || ',"counts":{"passed":' || r.passed || ',"failed":' || r.failed
|| ',"error":' || r.error || ',"skipped":' || r.skipped || ',"canceled":' || r.canceled || ',"flaky":' || r.flaky
|| '},"expected_results":' || coalesce(r.expected_results::text, 'null')
|| ',"expected_shards":' || coalesce(r.expected_shards::text, 'null') || ',"revision":' || r.revision
|| ',"started_at":' || coalesce('"' || rfc3339(r.started_at) || '"', 'null')
|| ',"completed_at":"' || rfc3339(r.completed_at) || '","last_completed_at":"' || rfc3339(r.last_completed_at)
|| '","duration_ms":' || coalesce(r.duration_ms::text, 'null')
|| ',"results_expired":' || r.results_expired::text || ',"pinned":' || r.pinned::text || '}'

-- name: one_run  (with its parts: the highest attempt of each, as its rank among the attempts of the part)
SELECT
    left({run_json}, -1) || ',"parts":' || parts.listed || '}'
FROM runs r
CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(item ORDER BY item.part, item.variant, item.shard), '[]')::text AS listed FROM (
        SELECT nullif(p.name, '') AS part, p.variant, nullif(p.shard, 0) AS shard,
               nullif(count(*) FILTER (WHERE p.attempt > 0), 0) AS attempt
        FROM run_parts p WHERE p.org_id = :org_id AND p.run_key = r.run_key
        GROUP BY p.name, p.variant, p.shard
    ) item
) parts
WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)

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
