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
SELECT item.*, failures.truncated
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
