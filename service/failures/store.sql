-- Failure groups: the failing results of trusted runs of a project with the same fingerprint. One statement lists groups for
-- each index that yields their runs, and one reads a single group.
--
-- As in results/queries.sql, each lookup of a partitioned table is limited by :first_key and :before_run, so that the executor
-- opens only the months that a statement can need. The first failure of a listed group can be in any month until
-- :before_run, and the last one in any month from :newest_from on.

-- name: set(org_id, fingerprint, ticket_url)
INSERT INTO failure_tickets (org_id, fingerprint, ticket_url) VALUES (:org_id, :fingerprint, :ticket_url)
ON CONFLICT (org_id, fingerprint) DO UPDATE SET ticket_url = excluded.ticket_url, updated_at = excluded.updated_at

-- name: delete(org_id, fingerprint)
DELETE FROM failure_tickets WHERE org_id = :org_id AND fingerprint = :fingerprint

-- name: failure_groups_of_run  (`statuses` are those that failing results of a run can have, or null if it has none)
WITH failing_run AS (
    SELECT run_key, '{f,e}'::"char"[] AS statuses FROM runs r
    WHERE org_id = :org_id AND run_id = :run_id AND {is_trusted} AND {is_of_project}
      AND (:branch::text IS NULL OR branch = :branch) AND run_key BETWEEN :first_key AND :before_run
), {ranked_failure_groups}

-- name: failure_groups_of_branch
WITH failing_run AS (
    SELECT run_key, CASE WHEN failed + error > 0 THEN array_remove(
               ARRAY[CASE WHEN failed > 0 THEN 'f' END, CASE WHEN error > 0 THEN 'e' END]::"char"[], NULL) END AS statuses
    FROM runs r
    WHERE org_id = :org_id AND project_id = :project_id AND branch = :branch AND run_key BETWEEN :first_key AND :before_run
      AND {is_trusted}
    ORDER BY run_key DESC LIMIT {read_runs} + 1
), {ranked_failure_groups}

-- name: failure_groups_of_project  (from the indexes of runs with failed results, and of those with errors)
WITH failing_run AS (
    SELECT run_key, array_agg(status ORDER BY status DESC) AS statuses FROM (
        (SELECT run_key, 'f'::"char" AS status FROM runs r
         WHERE org_id = :org_id AND project_id = :project_id AND failed > 0 AND run_key BETWEEN :first_key AND :before_run
           AND {is_trusted}
         ORDER BY run_key DESC LIMIT {read_runs} + 1)
        UNION ALL
        (SELECT run_key, 'e'::"char" FROM runs r
         WHERE org_id = :org_id AND project_id = :project_id AND error > 0 AND run_key BETWEEN :first_key AND :before_run
           AND {is_trusted}
         ORDER BY run_key DESC LIMIT {read_runs} + 1)
    ) failing
    GROUP BY run_key ORDER BY run_key DESC LIMIT {read_runs} + 1
), {ranked_failure_groups}

-- name: ranked_failure_groups  (the constant end: the largest groups of the newest runs)
-- One run or failure more than a budget is read, which shows that the budget ended. Each row also has `truncated`. Without
-- groups, it is in a row without a fingerprint.
candidate_run AS MATERIALIZED (
    SELECT run.*, row_number() OVER (ORDER BY run.run_key DESC)::int AS run_no FROM failing_run run
), failure AS MATERIALIZED (
    SELECT *, row_number() OVER ()::int AS failure_no FROM (
        SELECT run.run_key, run.run_no, failure.case_key, failure.fingerprint
        FROM (SELECT * FROM candidate_run WHERE run_no <= :run_budget::int AND statuses IS NOT NULL ORDER BY run_no OFFSET 0) run
        CROSS JOIN LATERAL (
            SELECT d.case_key, d.fingerprint
            FROM unnest(run.statuses) AS failing (status) CROSS JOIN LATERAL (
                SELECT d.case_key, d.fingerprint FROM result_details d
                WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
                LIMIT {read_budget} + 1  -- in the order of the index
            ) d
        ) failure
        LIMIT :row_budget::int + 1
    ) failure
), failure_group AS MATERIALIZED (
    SELECT fingerprint, count(*)::int AS results, count(DISTINCT case_key)::int AS cases, count(DISTINCT run_no)::int AS runs,
           min(failure_no) AS newest, array_agg(DISTINCT case_key) AS case_keys
    FROM failure WHERE failure_no <= :row_budget::int AND fingerprint IS NOT NULL
    GROUP BY fingerprint
    HAVING :owner::text IS NULL OR bool_or(:owner::text IS NOT NULL AND {is_failure_of_owner})
    ORDER BY results DESC, runs DESC, newest LIMIT :page::int
)
SELECT listed.*, search.truncated
FROM (
    SELECT (SELECT count(*) > :run_budget::int FROM candidate_run)
           OR (SELECT count(*) > :row_budget::int FROM failure) AS truncated
) search
LEFT JOIN LATERAL (
    SELECT item.*, failures.newest
    FROM failure_group failures JOIN failure example ON example.failure_no = failures.newest
    CROSS JOIN LATERAL (
        {oldest_failure}
    ) first_failure
    CROSS JOIN LATERAL (  -- OFFSET, because row-level security prevents COALESCE from being an index condition
        SELECT coalesce((
            {newest_failure}
        ), example.run_key) AS run_key
        OFFSET 0
    ) last_failure
    CROSS JOIN LATERAL (
        {failure_group_fields}
    ) item
) listed ON true
ORDER BY listed.results DESC, listed.runs DESC, listed.newest

-- name: is_failure_of_owner
(SELECT true FROM case_owners o WHERE o.org_id = :org_id AND o.case_key = failure.case_key AND o.owner = :owner LIMIT 1) IS TRUE

-- name: failure_group_range  (the first and the last run with failures of the group, and its project, if it is the given one)
SELECT oldest.run_key AS first_key, newest.run_key AS before_run, newest.project_id
FROM (SELECT :fingerprint::bigint AS fingerprint) failures
CROSS JOIN LATERAL (
    SELECT run.run_key, run.project_id FROM (
        {newest_failure}
    ) d CROSS JOIN LATERAL (
        SELECT r.run_key, r.project_id FROM runs r WHERE r.org_id = :org_id AND r.run_key = d.run_key LIMIT 1
    ) run
) newest
CROSS JOIN LATERAL (
    SELECT run.run_key FROM (
        {oldest_failure}
    ) d CROSS JOIN LATERAL (
        SELECT r.run_key FROM runs r WHERE r.org_id = :org_id AND r.run_key = d.run_key LIMIT 1
    ) run
) oldest
WHERE :project_id::text IS NULL OR newest.project_id = :project_id

-- name: one_failure_group  (of the minutes and results within the budgets, from the last run of failure_group_range on)
-- The example is the first failure of this run in the order of the ranked groups, so that both show the same one.
WITH example AS MATERIALIZED (
    SELECT d.run_key, d.case_key FROM {failing_statuses} CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key FROM result_details d
        WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key = :before_run AND d.fingerprint = :fingerprint
        ORDER BY d.case_key LIMIT 1
    ) d
    ORDER BY failing.status DESC LIMIT 1
), group_minute AS MATERIALIZED (
    SELECT DISTINCT g.minute FROM failure_group_minutes g
    WHERE g.org_id = :org_id AND g.fingerprint = :fingerprint
      AND g.minute BETWEEN completion_minute(:first_key) AND completion_minute(:before_run)
    ORDER BY g.minute DESC LIMIT {minute_budget} + 1
), failure AS MATERIALIZED (
    SELECT d.run_key, d.case_key
    FROM (
        SELECT {keys_of_minute} FROM (SELECT minute FROM group_minute ORDER BY minute DESC LIMIT {minute_budget}) minute OFFSET 0
    ) minute CROSS JOIN LATERAL (
        SELECT d.run_key, d.case_key FROM result_details d
        WHERE d.org_id = :org_id AND d.status = ANY ('{f,e}'::"char"[]) AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = :fingerprint
          AND d.run_key BETWEEN :first_key AND :before_run AND {result_is_trusted}
        LIMIT {failure_budget} + 1
    ) d
    LIMIT {failure_budget} + 1
)
SELECT item.*, failures.truncated, lifecycle.*
FROM example CROSS JOIN LATERAL (
    SELECT :fingerprint::bigint AS fingerprint, least(count(*), {failure_budget})::int AS results,
           count(DISTINCT case_key)::int AS cases, count(DISTINCT run_key)::int AS runs,
           array_agg(DISTINCT case_key) AS case_keys, count(*) > {failure_budget} OR (SELECT count(*) > {minute_budget} FROM group_minute) AS truncated
    FROM failure
) failures
CROSS JOIN (SELECT :first_key::uuid AS run_key) first_failure
CROSS JOIN (SELECT :before_run::uuid AS run_key) last_failure
CROSS JOIN LATERAL (
    {failure_group_fields}
) item
LEFT JOIN LATERAL (
    SELECT (extract(epoch FROM s.opened_at) * 1000)::bigint AS opened_ms,
           (extract(epoch FROM s.resolved_at) * 1000)::bigint AS resolved_ms
    FROM failure_group_states s WHERE s.org_id = :org_id AND s.fingerprint = :fingerprint LIMIT 1
) lifecycle ON true

-- name: newest_failure
--     (of the group `failures` from :newest_from on; if its results in a minute were deleted, the next is read)
SELECT d.run_key
FROM (
    SELECT {keys_of_minute} FROM (
        SELECT g.minute FROM failure_group_minutes g
        WHERE g.org_id = :org_id AND g.fingerprint = failures.fingerprint AND g.minute >= completion_minute(:newest_from)
        ORDER BY g.minute DESC OFFSET 0
    ) minute OFFSET 0
) minute CROSS JOIN LATERAL (
    SELECT d.run_key FROM {failing_statuses} CROSS JOIN LATERAL (
        SELECT d.run_key FROM result_details d
        WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
          AND d.run_key >= :newest_from AND {result_is_trusted}
        ORDER BY d.run_key DESC, d.case_key DESC LIMIT 1
    ) d
    ORDER BY d.run_key DESC LIMIT 1
) d
LIMIT 1

-- name: oldest_failure  (of the group `failures`)
SELECT d.run_key
FROM (
    SELECT {keys_of_minute} FROM (
        SELECT g.minute FROM failure_group_minutes g
        WHERE g.org_id = :org_id AND g.fingerprint = failures.fingerprint
        ORDER BY g.minute OFFSET 0
    ) minute OFFSET 0
) minute CROSS JOIN LATERAL (
    SELECT d.run_key FROM {failing_statuses} CROSS JOIN LATERAL (
        SELECT d.run_key FROM result_details d
        WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
          AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = failures.fingerprint
          AND d.run_key <= :before_run AND {result_is_trusted}
        ORDER BY d.run_key, d.case_key LIMIT 1
    ) d
    ORDER BY d.run_key LIMIT 1
) d
LIMIT 1

-- name: failure_group_fields  (FailureGroupRow in service/failures/model.py, in the order of its fields)
-- `failures` is the group with the keys of its cases, `example` its newest listed failure, `first_failure` and `last_failure` the first and last
-- stored one.
SELECT failures.fingerprint, run.project_id, detail.type, detail.summary AS message, failures.results, failures.cases,
       failures.runs, oldest.completed_ms AS first_seen_ms, newest.completed_ms AS last_seen_ms,
       example.run_key AS example_run, example.case_key AS example_case, ticket.ticket_url,
       ARRAY (
           SELECT DISTINCT o.owner FROM unnest(failures.case_keys) AS failed (case_key) CROSS JOIN LATERAL (
               SELECT o.owner FROM case_owners o WHERE o.org_id = :org_id AND o.case_key = failed.case_key LIMIT {cases.MAX_OWNERS}
           ) o
           ORDER BY o.owner LIMIT {cases.MAX_OWNERS}
       ) AS owners
FROM (
    SELECT r.project_id FROM runs r WHERE r.org_id = :org_id AND r.run_key = example.run_key LIMIT 1
) run
CROSS JOIN LATERAL (
    SELECT d.type, d.summary FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = example.run_key AND d.case_key = example.case_key AND d.is_last_attempt
      AND d.run_key BETWEEN :first_key AND :before_run LIMIT 1
) detail
CROSS JOIN LATERAL (
    SELECT {completed_ms} AS completed_ms FROM runs r WHERE r.org_id = :org_id AND r.run_key = first_failure.run_key LIMIT 1
) oldest
CROSS JOIN LATERAL (
    SELECT {completed_ms} AS completed_ms FROM runs r WHERE r.org_id = :org_id AND r.run_key = last_failure.run_key LIMIT 1
) newest
LEFT JOIN LATERAL (
    SELECT t.ticket_url FROM failure_tickets t
    WHERE t.org_id = :org_id AND t.fingerprint = failures.fingerprint LIMIT 1
) ticket ON true

-- name: failing_cases_of_runs  (the fields of FailingCaseRow; at most :limit of each run, as this transaction sees them)
SELECT requested.run_key, failure.case_key, status_name(failure.status) AS status, failure.summary, c.case_id, c.variant,
       c.suite, c.name, coalesce(failure.file, c.file) AS file
FROM unnest(:org_ids::int[], :run_keys::uuid[]) AS requested (org_id, run_key)
CROSS JOIN LATERAL (
    SELECT d.case_key, d.status, d.summary, d.file
    FROM result_details d
    WHERE d.org_id = {requested_organization} AND d.run_key = requested.run_key AND d.is_last_attempt AND d.status <> 'p'
          AND d.status IN ('f', 'e')
    ORDER BY d.status, d.case_key
    LIMIT :limit
) failure
CROSS JOIN LATERAL (
    SELECT case_id, variant, suite, name, file FROM cases
    WHERE org_id = {requested_organization} AND case_key = failure.case_key LIMIT 1
) c

-- name: lock_project(org_id, project_id)
--     (unless it is being deleted, and whether its failure groups aren't recorded yet; the lock delays a deletion)
SELECT default_branch, failure_groups_branch IS DISTINCT FROM default_branch AS is_first FROM projects
WHERE org_id = :org_id AND project_id = :project_id AND deletion_requested_at IS NULL FOR NO KEY UPDATE

-- name: set_recorded(org_id, project_id, branch)
UPDATE projects SET failure_groups_branch = :branch WHERE org_id = :org_id AND project_id = :project_id

-- name: failing_rows  (the failing results of the run `run`; OFFSET, so that its key is an index condition)
SELECT d.case_key, d.fingerprint FROM unnest('{f,e}'::"char"[]) AS failing (status)
JOIN result_details d ON d.status = failing.status
WHERE d.org_id = :org_id AND d.run_key = run.run_key AND d.is_last_attempt AND d.status <> 'p' OFFSET 0

-- name: find_open_groups(org_id, run_keys, changed)
--     (with cases that no run passed or failed in another way since; the runs are those of an environment, newest first)
-- `opened_no` is the oldest of the changed runs that failed, or else of all, and `is_new` states that no other run failed.
SELECT fingerprint, min(no) FILTER (WHERE is_open) AS last_no, coalesce(max(no) FILTER (WHERE is_changed), max(no)) AS opened_no,
       bool_and(is_changed) AS is_new
FROM (
    SELECT fingerprint, no, is_changed, CASE WHEN is_newest THEN (
        SELECT true FROM unnest((:run_keys::uuid[])[1:(no - 1)]) AS newer (run_key) CROSS JOIN LATERAL (
            SELECT FROM results r
            WHERE r.org_id = :org_id AND r.run_key = newer.run_key AND r.case_key = failure.case_key AND r.status = 'p' LIMIT 1
        ) passed
        LIMIT 1
    ) IS NULL END AS is_open
    FROM (
        SELECT failing.*, no::int, run.run_key = ANY (:changed::uuid[]) AS is_changed,
               row_number() OVER (PARTITION BY case_key ORDER BY no) = 1 AS is_newest
        FROM unnest(:run_keys::uuid[]) WITH ORDINALITY AS run (run_key, no) CROSS JOIN LATERAL (
            {failing_rows}
        ) failing
    ) failure
) failure
WHERE fingerprint IS NOT NULL GROUP BY fingerprint HAVING bool_or(is_open)

-- name: group_state_fields  (GroupState in service/failures/model.py)
fingerprint, environments, opened_at, opened_run_id, last_run_id, resolved_at, resolved_run_id

-- name: find_states(org_id, project_id, fingerprints)  (the open groups of a project, and these)
SELECT {group_state_fields} FROM failure_group_states
WHERE org_id = :org_id AND project_id = :project_id AND resolved_at IS NULL
UNION
SELECT {group_state_fields} FROM failure_group_states WHERE org_id = :org_id AND fingerprint = ANY (:fingerprints::bigint[])

-- name: store_states(org_id, project_id, fingerprints, environments, opened_at, opened_run_ids, last_run_ids, resolved_at,
--     resolved_run_ids)
INSERT INTO failure_group_states (org_id, project_id, {group_state_fields})
SELECT :org_id, :project_id, fingerprint, ARRAY (SELECT jsonb_array_elements_text(environments::jsonb)), opened_at, opened_run_id,
       last_run_id, resolved_at, resolved_run_id
FROM unnest(:fingerprints::bigint[], :environments::text[], :opened_at::timestamptz[], :opened_run_ids::text[],
            :last_run_ids::text[], :resolved_at::timestamptz[], :resolved_run_ids::text[]) AS new ({group_state_fields})
ON CONFLICT (org_id, fingerprint) DO UPDATE
SET environments = excluded.environments, opened_at = excluded.opened_at, opened_run_id = excluded.opened_run_id,
    last_run_id = excluded.last_run_id, resolved_at = excluded.resolved_at, resolved_run_id = excluded.resolved_run_id

-- name: delete_states(org_id, project_id)
DELETE FROM failure_group_states WHERE org_id = :org_id AND project_id = :project_id

-- name: group_objects(org_id, project_id, branch, fingerprints, ids, link_base, max_cases)
--     (FailureGroupObject in service/events/contract.py, and the owners with most cases, of stored states)
-- The cases are those that failed in the last run, by which the newest failure is the first one. It can be deleted.
WITH wanted AS MATERIALIZED (
    SELECT state.*, id, r.run_key, r.repository_url, r.ci_url, :link_base || '/v1/' AS api, :link_base || '/console/' AS console
    FROM unnest(:fingerprints::bigint[], :ids::text[]) AS requested (fingerprint, id)
    JOIN failure_group_states state ON state.org_id = :org_id AND state.fingerprint = requested.fingerprint
    LEFT JOIN runs r ON r.org_id = :org_id AND r.run_id = state.last_run_id
), failure AS MATERIALIZED (
    SELECT failing.*, run.run_key, row_number() OVER (PARTITION BY failing.fingerprint ORDER BY failing.case_key) AS no
    FROM (SELECT DISTINCT run_key FROM wanted) run CROSS JOIN LATERAL (
        {failing_rows}
    ) failing
    JOIN wanted ON wanted.run_key = run.run_key AND wanted.fingerprint = failing.fingerprint
    WHERE failing.fingerprint = ANY (:fingerprints::bigint[])  -- before the join, which can be a nested loop
), listed AS (
    SELECT fingerprint, json_agg(json_build_object(
               'id', result_id(run_key, c.case_key), 'case', case_public_id(c.case_key), 'suite', left(c.suite, 200),
               'name', left(c.name, 200), 'file', left(c.file, 200), 'owners', c.owners
           ) ORDER BY no) AS cases
    FROM failure JOIN cases c ON c.org_id = :org_id AND c.case_key = failure.case_key
    WHERE no <= :max_cases GROUP BY fingerprint
), owned AS (
    SELECT fingerprint, (array_agg(owner ORDER BY cases DESC, owner))[1:{cases.MAX_OWNERS}] AS names FROM (
        SELECT fingerprint, owner, count(*) AS cases
        FROM failure JOIN case_owners o ON o.org_id = :org_id AND o.case_key = failure.case_key GROUP BY fingerprint, owner
    ) owned
    GROUP BY fingerprint
), counted AS (
    SELECT fingerprint, count(*) AS cases FROM failure GROUP BY fingerprint
), opening AS (
    SELECT run_id, opened.commit_sha, (
        SELECT commit_sha FROM (
            SELECT r.commit_sha, r.environment FROM runs r
            WHERE r.org_id = :org_id AND r.project_id = :project_id AND r.branch = :branch AND r.run_key < opened.run_key
              AND {is_trusted} AND {is_candidate}
            ORDER BY r.run_key DESC LIMIT 100
        ) earlier
        WHERE environment IS NOT DISTINCT FROM opened.environment LIMIT 1
    ) AS last_good_commit
    FROM runs opened WHERE org_id = :org_id AND run_id IN (SELECT opened_run_id FROM wanted)
)
SELECT wanted.fingerprint, coalesce(owned.names, '{}') AS owners, json_build_object(
    'id', id, 'project_id', project_id, 'state', CASE WHEN resolved_at IS NULL THEN 'open' ELSE 'resolved' END,
    'type', left(detail.type, 200), 'message', detail.summary, 'branch', :branch::text, 'opened_at', rfc3339(opened_at),
    'opened_run_id', opened_run_id, 'last_run_id', last_run_id, 'resolved_at', rfc3339(resolved_at),
    'resolved_run_id', resolved_run_id, 'commit_sha', opening.commit_sha, 'last_good_commit', opening.last_good_commit,
    'repository_url', repository_url, 'case_count', coalesce(counted.cases, 0), 'cases', coalesce(listed.cases, '[]'),
    'owners', coalesce(owned.names, '{}'), 'ticket_url', ticket.ticket_url, 'links', json_build_object(
        'failure_group', api || 'failures/' || id, 'result', api || 'results/' || result_id(first.run_key, first.case_key),
        'console', console || 'failures/' || id, 'console_result',
        console || 'results/' || result_id(first.run_key, first.case_key), 'ci', ci_url
    )
)::text AS object
FROM wanted
LEFT JOIN failure first ON first.fingerprint = wanted.fingerprint AND first.no = 1
LEFT JOIN LATERAL (
    SELECT d.type, d.summary FROM result_details d
    WHERE d.org_id = :org_id AND d.run_key = first.run_key AND d.case_key = first.case_key AND d.is_last_attempt LIMIT 1
) detail ON true
LEFT JOIN listed ON listed.fingerprint = wanted.fingerprint
LEFT JOIN owned ON owned.fingerprint = wanted.fingerprint
LEFT JOIN counted ON counted.fingerprint = wanted.fingerprint
LEFT JOIN opening ON opening.run_id = opened_run_id
LEFT JOIN failure_tickets ticket ON ticket.org_id = :org_id AND ticket.fingerprint = wanted.fingerprint
