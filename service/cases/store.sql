-- Cases: what ingest writes, and cases with statistics over their last runs. Each of the latter statements returns the columns
-- of CaseRow in service/cases/model.py first. For each case, the primary key of results is looked up once per run of the
-- project, so an index by case is not necessary.

-- name: insert_unseen(org_ids, case_keys, project_ids, case_ids, suites, names, occurrences, files, variants)
--     (sorted by key, to prevent deadlocks between batches; returns the rows that it inserted or changed)
-- A case with a case_id gets its newest suite and name, and a case gets its newest file, as far as ingest/new_cases.py
-- permits it. Nothing of a hidden or promoted case stays: the code of a fork has stated all of its texts.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb
{new_cases}
ON CONFLICT (org_id, case_key) DO UPDATE
    SET project_id = excluded.project_id, case_id = excluded.case_id, suite = excluded.suite, name = excluded.name,
        occurrence = excluded.occurrence, variant = excluded.variant, trusted = true, promoted = NULL, expires_on = NULL,
        file = coalesce(excluded.file, CASE WHEN stored.trusted AND stored.promoted IS NOT TRUE THEN stored.file END)
    WHERE NOT stored.trusted OR stored.promoted OR stored.project_id = excluded.project_id AND stored.variant = excluded.variant
      AND stored.case_id IS NOT DISTINCT FROM excluded.case_id
      AND (stored.case_id IS NOT NULL
           OR (stored.suite, stored.name, stored.occurrence) = (excluded.suite, excluded.name, excluded.occurrence))
      AND (stored.suite, stored.name, coalesce(stored.file, ''))
          <> (excluded.suite, excluded.name, coalesce(excluded.file, stored.file, ''))
RETURNING org_id, case_key, xmax <> 0 AS is_changed -- an inserted row has no xmax

-- name: lock_new_owners(org_id, owners)  (if some of them are new, other transactions with new ones wait)
SELECT pg_advisory_xact_lock(hashtext('case_owners'), :org_id::int)
WHERE EXISTS (
    SELECT FROM unnest(:owners::text[]) AS stated (owner)
    WHERE NOT EXISTS (SELECT FROM case_owners known WHERE known.org_id = :org_id AND known.owner = stated.owner)
)

-- name: find_excess_owners(org_id, owners, max_owners)  (those of the new ones that exceed the limit of an organization)
WITH RECURSIVE known AS (  -- looks up the next owner each time, because each of them has many cases
    (SELECT owner FROM case_owners WHERE org_id = :org_id ORDER BY owner LIMIT 1)
    UNION ALL
    SELECT (SELECT owner FROM case_owners later WHERE later.org_id = :org_id AND later.owner > known.owner ORDER BY owner LIMIT 1)
    FROM known WHERE known.owner IS NOT NULL
)
SELECT owner FROM unnest(:owners::text[]) AS stated (owner)
WHERE owner NOT IN (SELECT owner FROM known WHERE owner IS NOT NULL)
ORDER BY owner OFFSET greatest(0, :max_owners::int - (SELECT count(owner) FROM known))

-- name: set_owners(org_id, case_keys, owners)
--     (of cases that the transaction has locked, each a JSON array; returns the cases that it changed)
WITH stated AS (
    SELECT case_key, ARRAY (SELECT jsonb_array_elements_text(document::jsonb)) AS owners
    FROM unnest(:case_keys::bigint[], :owners::text[]) AS stated (case_key, document)
), changed AS (
    UPDATE cases c SET owners = stated.owners FROM stated
    WHERE c.org_id = :org_id AND c.case_key = stated.case_key AND c.owners <> stated.owners
    RETURNING c.case_key, c.project_id, c.owners
), removed AS (
    DELETE FROM case_owners o USING changed
    WHERE o.org_id = :org_id AND o.case_key = changed.case_key AND o.owner <> ALL (changed.owners)
), added AS (
    INSERT INTO case_owners (org_id, case_key, owner, project_id)
    SELECT :org_id, case_key, unnest(owners), project_id FROM changed
    ON CONFLICT DO NOTHING
)
SELECT case_key FROM changed

-- name: insert_hidden(org_ids, case_keys, project_ids, case_ids, suites, names, occurrences, files, variants, days)
--     (those of an untrusted run that aren't stored yet; sorted by key, to prevent deadlocks)
-- A stored case stays as it is, except that a hidden one expires later.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant, trusted, expires_on)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb, false,
       (now() AT TIME ZONE 'UTC')::date + :days::int
{new_cases}
ON CONFLICT (org_id, case_key) DO UPDATE SET expires_on = excluded.expires_on
    WHERE NOT stored.trusted AND stored.expires_on < excluded.expires_on

-- name: insert_promoted(org_ids, case_keys, project_ids, case_ids, suites, names, occurrences, files, variants)
--     (those of a promoted run that no trusted run contains; sorted by key, to prevent deadlocks)
-- The newest promoted run states the texts. For example, a stranger has uploaded a case_id first, with a name that a
-- quarantine matches: the run of another fork with this case_id shows its own name after its promotion.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant, promoted)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb, true
{new_cases}
ON CONFLICT (org_id, case_key) DO UPDATE
    SET project_id = excluded.project_id, case_id = excluded.case_id, suite = excluded.suite, name = excluded.name,
        occurrence = excluded.occurrence, variant = excluded.variant, file = excluded.file, trusted = true,
        promoted = true, expires_on = NULL
    WHERE NOT stored.trusted OR stored.promoted

-- name: new_cases  (sorted by key, to prevent deadlocks between batches)
FROM unnest(:org_ids::int[], :case_keys::bigint[], :project_ids::text[], :case_ids::text[], :suites::text[], :names::text[],
            :occurrences::int[], :files::text[], :variants::text[])
    AS new (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
ORDER BY org_id, case_key

-- name: find_of_default_branch(org_id, project_id, branch, case_keys)
--     (those that one of the newest runs of the default branch contains; none if :branch is this branch)
WITH newest AS MATERIALIZED (
    SELECT run.run_key FROM projects p CROSS JOIN LATERAL (
        SELECT r.run_key FROM runs r
        WHERE r.org_id = :org_id AND r.project_id = :project_id AND r.branch = p.default_branch AND r.trusted IS NOT FALSE
        ORDER BY r.run_key DESC LIMIT 100
    ) run
    WHERE p.org_id = :org_id AND p.project_id = :project_id AND p.default_branch <> :branch
)
SELECT moved.case_key FROM unnest(:case_keys::bigint[]) AS moved (case_key)
WHERE EXISTS (  -- ends at the first run, which usually contains the case
    SELECT FROM newest CROSS JOIN LATERAL (
        SELECT FROM results r WHERE r.org_id = :org_id AND r.run_key = newest.run_key AND r.case_key = moved.case_key LIMIT 1
    ) tested
)

-- name: count_changes(org_ids)  (in the transaction of the changes; sorted, to prevent deadlocks between batches)
UPDATE organizations SET cases_version = cases_version + 1
FROM (
    SELECT org_id FROM organizations WHERE org_id = ANY (:org_ids::int[]) ORDER BY org_id FOR NO KEY UPDATE
) changed
WHERE organizations.org_id = changed.org_id

-- name: find_of_owner(org_id, owner, case_keys)
SELECT case_key FROM case_owners WHERE org_id = :org_id AND owner = :owner AND case_key = ANY (:case_keys::bigint[])

-- name: page_of_cases  (in the order of the index on the cases of a project, which keeps suites together)
WITH recent AS MATERIALIZED (
    SELECT run_key, row_number() OVER ()::int AS run_no FROM ({filtered_runs}) newest
), listed AS MATERIALIZED (
    {listed_cases}
), newest_results AS MATERIALIZED (  -- one scan of each run for all cases; LIMIT keeps the planner from scanning
    SELECT r.* FROM (SELECT * FROM recent WHERE run_no <= :runs::int ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT run.run_no, {result_of_case} FROM results r
        WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.run_key BETWEEN :first_key AND :before_run
          AND r.case_key = ANY (ARRAY(SELECT case_key FROM listed)) LIMIT :page::int + 1
    ) r
), rare_cases AS MATERIALIZED (  -- that some of the newest runs don't contain; a FULL JOIN is never a nested loop
    SELECT listed.case_key, coalesce(counted.results, 0) AS results
    FROM listed
    FULL JOIN (SELECT case_key, count(*)::int AS results FROM newest_results GROUP BY case_key) counted
        ON counted.case_key = listed.case_key
    WHERE coalesce(counted.results, 0) < :runs::int
), older_results AS MATERIALIZED (
    SELECT r.* FROM (SELECT * FROM recent WHERE run_no > :runs::int ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT run.run_no, {result_of_case} FROM results r
        WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.run_key BETWEEN :first_key AND :before_run
          AND r.case_key = ANY (ARRAY(SELECT case_key FROM rare_cases)) LIMIT :page::int + 1
    ) r
), counted AS MATERIALIZED (
    SELECT
        case_key, count(*)::int AS runs, min(run_no * 256 + status::int) AS last_result, {case_counts}
    FROM (
        SELECT run_no, case_key, status, flaky, duration_ms FROM newest_results
        UNION ALL
        SELECT run_no, case_key, status, flaky, duration_ms FROM (
            SELECT older.*, rare.results + row_number() OVER (PARTITION BY older.case_key ORDER BY older.run_no) AS result_no
            FROM older_results older FULL JOIN rare_cases rare ON rare.case_key = older.case_key
        ) numbered_results
        WHERE result_no <= :runs::int AND run_no IS NOT NULL
    ) last_results
    GROUP BY case_key
)
SELECT
    {case_fields},
    statistics.suite_hash
FROM (
    SELECT listed.*, coalesce(runs, 0) AS runs, chr(last_result % 256)::"char" AS last_status,
           (ARRAY(SELECT run_key FROM recent ORDER BY run_no))[last_result / 256] AS last_run,
           coalesce(executed, 0) AS executed, coalesce(failing, 0) AS failing, coalesce(flaky, 0) AS flaky, mean_ms, p95_ms
    FROM listed FULL JOIN counted ON counted.case_key = listed.case_key
) statistics
CROSS JOIN LATERAL (
    SELECT * FROM cases c WHERE c.org_id = :org_id AND c.case_key = statistics.case_key LIMIT 1
) c
{last_run_of_case}
ORDER BY statistics.suite_hash, statistics.case_key

-- name: next_cases  (in the order of the list)
SELECT c.suite_hash, c.case_key FROM {cases_in_any_state} c
WHERE {next_cases_of_suite} AND {is_of_owner}
ORDER BY c.suite_hash, c.case_key LIMIT :page::int + 1

-- name: found_cases  (by search_of_cases)
SELECT * FROM unnest(:suite_hashes::bigint[], :case_keys::bigint[]) AS found (suite_hash, case_key)

-- name: next_cases_of_suite  (of :suite, or of all suites, after the position of the page)
-- The range of hashes is a CASE because row-level security prevents COALESCE from being an index condition.
c.org_id = :org_id AND c.project_id = :project_id AND c.trusted
AND c.suite_hash BETWEEN CASE WHEN :suite::text IS NULL THEN -9223372036854775808 ELSE hashtextextended(:suite::text, 0) END
                     AND CASE WHEN :suite::text IS NULL THEN 9223372036854775807 ELSE hashtextextended(:suite::text, 0) END
AND (c.suite_hash, c.case_key) > (:after_suite::bigint, :after_case::bigint)
AND (:suite::text IS NULL OR c.suite = :suite::text)

-- name: cases_in_any_state
{cases_of_any_owner}

-- name: cases_of_any_owner
cases

-- name: cases_of_owner  (starts from the cases of :owner, and looks up each of them)
(
    SELECT owned_case.* FROM (
        SELECT o.case_key FROM case_owners o
        WHERE o.org_id = :org_id AND o.owner = :owner AND o.project_id = :project_id OFFSET 0
    ) owned CROSS JOIN LATERAL (
        SELECT * FROM cases c WHERE c.org_id = :org_id AND c.case_key = owned.case_key LIMIT 1
    ) owned_case
)

-- name: is_of_owner
(:owner::text IS NULL OR :owner = ANY (c.owners))

-- name: count_of_owner(org_id, project_id, owner, limit)  (at most :limit)
SELECT count(*) FROM (
    SELECT FROM case_owners WHERE org_id = :org_id AND owner = :owner AND project_id = :project_id LIMIT :limit
) owned

-- name: cases_in_states  (starts from the unhealthy cases, and looks up each of them)
(
    SELECT of_state.* FROM ({unhealthy_cases} OFFSET 0) unhealthy CROSS JOIN LATERAL (
        SELECT * FROM cases c WHERE c.org_id = :org_id AND c.case_key = unhealthy.case_key LIMIT 1
    ) of_state
)

-- name: cases_not_in_states
(SELECT * FROM {cases_of_any_owner} c WHERE c.org_id = :org_id AND c.case_key NOT IN ({unhealthy_cases}))

-- name: ranks_in_any_state
true

-- name: ranks_in_states  (IS TRUE lets the planner hash the unhealthy cases)
(case_key IN ({unhealthy_cases})) IS TRUE

-- name: ranks_not_in_states
case_key NOT IN ({unhealthy_cases})

-- name: ranks_of_any_owner
true

-- name: ranks_of_owner  (LIMIT and IS TRUE let the planner hash the cases of the owner)
(case_key IN (
    SELECT o.case_key FROM case_owners o
    WHERE o.org_id = :org_id AND o.owner = :owner AND o.project_id = :project_id LIMIT {read_budget}
)) IS TRUE

-- name: ranks_of_large_owner  (looks up each case in the order of the ranking)
(
    SELECT true FROM case_owners o WHERE o.org_id = :org_id AND o.case_key = found_case.case_key AND o.owner = :owner LIMIT 1
)

-- name: unhealthy_cases  (of the project, whose shown state is one of :states)
SELECT shown.case_key FROM (
    {shown_states}
) shown WHERE shown.state = ANY (:states::text[])

-- name: search_of_cases  (whose texts match, and, if :requires_result is true, of which one of the filtered runs has a result)
-- A row with `is_edge` is the last one of the examined cases. It can be a case that doesn't match.
WITH recent AS MATERIALIZED ({filtered_runs})
SELECT candidate.suite_hash, candidate.case_key, candidate.is_edge,
       candidate.matches AND (NOT :requires_result::bool OR EXISTS (
           SELECT 1 FROM recent CROSS JOIN LATERAL (
               SELECT 1 FROM results r
               WHERE r.org_id = :org_id AND r.run_key = recent.run_key AND r.run_key BETWEEN :first_key AND :before_run
                     AND r.case_key = candidate.case_key LIMIT 1
           ) result
       )) AS matches
FROM (
    SELECT searched.*
    FROM (
        SELECT c.suite_hash, c.case_key, row_number() OVER () = {searched_cases} AS is_edge, {searched_texts} AS matches
        FROM (
            SELECT * FROM {cases_in_any_state} c WHERE {next_cases_of_suite}
            ORDER BY c.suite_hash, c.case_key LIMIT {searched_cases}
        ) c
    ) searched
    WHERE matches OR is_edge LIMIT :candidates::int
) candidate
ORDER BY candidate.suite_hash, candidate.case_key

-- name: searched_texts  (like case_filters, but fast for many cases: in ASCII, lower() is several times as fast)
{is_of_owner} AND (:variants::text[] IS NULL OR c.variant @> ALL ((SELECT :variants::text[]::jsonb[])::jsonb[]))
AND (:patterns::text[] IS NULL
     OR CASE WHEN :is_ascii::bool THEN lower((c.suite || E'\n' || c.name) COLLATE "C") ELSE lower(c.suite || E'\n' || c.name) END
        LIKE ALL ((SELECT array_agg(lower(pattern)) FROM unnest(:patterns::text[]) pattern)::text[]))

-- name: filtered_runs  (the newest trusted runs of the project, or of its :branch, in a range: one of the two parts is empty)
SELECT run_key FROM (
    (SELECT run_key FROM runs
     WHERE :branch::text IS NULL AND org_id = :org_id AND project_id = :project_id
           AND run_key BETWEEN :first_key AND :before_run AND {run_is_trusted}
     ORDER BY run_key DESC LIMIT {recent_runs})
    UNION ALL
    (SELECT run_key FROM runs
     WHERE org_id = :org_id AND project_id = :project_id AND branch = :branch
           AND run_key BETWEEN :first_key AND :before_run AND {run_is_trusted}
     ORDER BY run_key DESC LIMIT {recent_runs})
) filtered

-- name: result_of_case
r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms

-- name: one_case  (in more runs than in lists)
WITH recent AS MATERIALIZED (
    SELECT run_key FROM runs WHERE org_id = :org_id AND project_id = :project_id AND {run_is_trusted}
    ORDER BY run_key DESC LIMIT {read_runs}
)
SELECT
    {case_fields}
FROM cases c
{case_statistics}
WHERE c.org_id = :org_id AND c.case_key = :case_key AND c.project_id = :project_id

-- name: other_variants  (of a test: cases with the same ID of the producer, or the same suite, name, and occurrence)
WITH original AS MATERIALIZED (
    SELECT * FROM cases
    WHERE org_id = :org_id AND case_key = :case_key AND project_id = :project_id
), recent AS MATERIALIZED ({recent}), variant AS MATERIALIZED (
    SELECT c.* FROM original CROSS JOIN LATERAL (
        SELECT * FROM cases c
        WHERE original.case_id IS NOT NULL AND c.org_id = :org_id AND c.case_id = original.case_id
          AND c.project_id = original.project_id AND c.trusted
        UNION ALL
        SELECT * FROM (
            SELECT * FROM cases c
            WHERE original.case_id IS NULL AND c.org_id = :org_id AND c.project_id = original.project_id
              AND c.suite_hash = original.suite_hash AND c.trusted
            ORDER BY c.case_key LIMIT {read_budget}
        ) of_suite
        WHERE (suite, name, occurrence) = (original.suite, original.name, original.occurrence) AND case_id IS NULL
    ) c
    WHERE c.case_key <> original.case_key
    ORDER BY c.variant, c.case_key LIMIT :page::int
)
SELECT
    {case_fields}
FROM variant c
{case_statistics}
ORDER BY c.variant, c.case_key

-- name: case_project
SELECT project_id FROM cases
WHERE org_id = :org_id AND case_key = :case_key AND {is_of_project}

-- name: cases_of_key  (the case that a filter selects)
SELECT c.project_id, c.case_id, c.case_key FROM cases c
WHERE c.org_id = :org_id AND c.case_key = :case_key AND (:project_id::text IS NULL OR c.project_id = :project_id)
  AND {case_filters}

-- name: cases_of_id  (two rows mean that several cases match)
SELECT c.project_id, c.case_id, c.case_key FROM cases c
WHERE c.org_id = :org_id AND c.case_id = :case_id AND (:project_id::text IS NULL OR c.project_id = :project_id)
  AND {case_filters} AND {is_listed_case}
LIMIT 2

-- name: case_filters  (the filters of cases, for the list of results and for exports)
(:suite::text IS NULL OR c.suite = :suite::text) AND {is_of_owner}
AND (:variants::text[] IS NULL OR c.variant @> ALL (:variants::text[]::jsonb[]))
AND (:words::text[] IS NULL OR NOT EXISTS (
    SELECT 1 FROM unnest(:words::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0))

-- name: recent  (the newest trusted runs of the project, in which lists look up their cases)
SELECT run_key FROM runs WHERE org_id = :org_id AND project_id = :project_id AND {run_is_trusted}
ORDER BY run_key DESC LIMIT {recent_runs}

-- name: case_fields  (CaseRow, in the order of its fields)
c.case_key, c.project_id, c.case_id, c.variant, c.suite, c.name, c.file,
status_name(statistics.last_status) AS last_status, last_run.run_id AS last_run_id, last_run.completed_ms AS last_completed_ms,
statistics.runs, statistics.executed, statistics.failing AS failed, statistics.flaky,
round(statistics.failing::numeric / nullif(statistics.executed, 0), 4)::float8 AS failure_rate,
round(statistics.flaky::numeric / nullif(statistics.executed, 0), 4)::float8 AS flaky_rate,
round(statistics.mean_ms)::int AS mean_duration_ms, statistics.p95_ms AS p95_duration_ms, c.trusted, c.owners

-- name: case_aggregates  (of results from the newest to the oldest; rates and durations ignore skipped and canceled results)
count(run_key)::int AS runs, (array_agg(status))[1] AS last_status, (array_agg(run_key))[1] AS last_run, {case_counts}

-- name: case_counts
count(*) FILTER (WHERE status IN ('p', 'f', 'e'))::int AS executed,
count(*) FILTER (WHERE status IN ('f', 'e'))::int AS failing, count(*) FILTER (WHERE flaky)::int AS flaky,
avg(duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS mean_ms,
percentile_disc(0.95) WITHIN GROUP (ORDER BY duration_ms) FILTER (WHERE status IN ('p', 'f', 'e')) AS p95_ms

-- name: case_statistics
CROSS JOIN LATERAL (
    SELECT
        {case_aggregates}
    FROM (
        SELECT r.run_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms
        FROM recent CROSS JOIN LATERAL (
            SELECT run_key, status, flaky, duration_ms FROM results r
            WHERE r.org_id = :org_id AND r.run_key = recent.run_key AND r.case_key = c.case_key LIMIT 1
        ) r
        LIMIT :runs::int
    ) last_results
) statistics
{last_run_of_case}

-- name: last_run_of_case
LEFT JOIN LATERAL (
    SELECT r.run_id, {completed_ms} AS completed_ms FROM runs r
    WHERE r.org_id = :org_id AND r.run_key = statistics.last_run LIMIT 1
) last_run ON true

-- name: ranked_by_failures  (the cases with the most failing results)
WITH newest_run AS MATERIALIZED (
    {newest_runs_to_rank}
), found AS MATERIALIZED (
    SELECT run.run_no, result.case_key, 1 AS value
    FROM (SELECT * FROM newest_run ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT d.case_key
        FROM unnest(CASE WHEN run.failed + run.error > 0 THEN '{f,e}' END::"char"[]) AS failing (status) CROSS JOIN LATERAL (
            SELECT d.case_key FROM result_details d
            WHERE d.org_id = :org_id AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
              AND d.run_key = run.run_key AND d.run_key BETWEEN :first_key AND :before_run
            ORDER BY d.case_key LIMIT {read_budget} + 1
        ) d
    ) result
    LIMIT :row_budget::int + 1
), unread AS (
    SELECT false AS has_runs
), {ranked_cases}

-- name: ranked_by_flaky  (the cases with the most flaky results)
WITH newest_run AS MATERIALIZED (
    {newest_runs_to_rank}
), found AS MATERIALIZED (
    SELECT run.run_no, result.case_key, 1 AS value
    FROM (SELECT * FROM newest_run ORDER BY run_no OFFSET 0) run CROSS JOIN LATERAL (
        SELECT d.case_key FROM (SELECT WHERE run.flaky > 0 OFFSET 0) flaky CROSS JOIN LATERAL (
            SELECT d.case_key FROM result_details d
            WHERE d.org_id = :org_id AND d.flaky AND d.run_key = run.run_key
                  AND d.run_key BETWEEN :first_key AND :before_run
            ORDER BY d.case_key LIMIT {read_budget} + 1
        ) d
    ) result
    LIMIT :row_budget::int + 1
), unread AS (
    SELECT false AS has_runs
), {ranked_cases}

-- name: ranked_by_duration  (the cases with the longest executed results in the newest complete run that has such results)
-- Runs are unread if the run has more results than are read, or if none of the examined runs is such a run.
WITH newest_run AS MATERIALIZED (
    SELECT run_key, passed + failed + error + skipped + canceled AS results, 1 AS run_no
    FROM (SELECT * FROM ({runs_to_rank}) examined LIMIT {read_runs}) newest
    WHERE complete AND passed + failed + error > 0 AND NOT results_expired LIMIT 1
), found AS MATERIALIZED (  -- only the longest ones, because each case has one result
    SELECT run.run_no, result.case_key, result.value FROM newest_run run CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT r.case_key, r.duration_ms AS value FROM (
                SELECT * FROM (
                    SELECT r.case_key, r.status, r.duration_ms FROM results r
                    WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.run_key BETWEEN :first_key AND :before_run
                    ORDER BY r.case_key LIMIT {read_budget}
                ) r
                LIMIT :row_budget::int
            ) r
            WHERE r.status IN ('p', 'f', 'e') AND r.duration_ms >= 0 AND {ranks_in_any_state}
            ORDER BY value DESC, r.case_key OFFSET 0
        ) found_case
        WHERE {ranks_of_any_owner} LIMIT :ranked::int + 1
    ) result
), unread AS (
    SELECT EXISTS (SELECT 1 FROM newest_run WHERE results > :row_budget::int)
           OR NOT EXISTS (SELECT 1 FROM newest_run)
           AND EXISTS (SELECT 1 FROM ({runs_to_rank}) examined OFFSET {read_runs}) AS has_runs
), {ranked_cases}

-- name: newest_runs_to_rank
SELECT run_key, failed, error, flaky, row_number() OVER ()::int AS run_no FROM ({runs_to_rank}) newest LIMIT :runs::int

-- name: runs_to_rank  (the newest trusted runs of the project, or of its :branch, in a range: one of the two parts is empty)
(SELECT * FROM runs r
 WHERE :branch::text IS NULL AND org_id = :org_id AND project_id = :project_id
       AND run_key BETWEEN :first_key AND :before_run AND {is_trusted}
 ORDER BY run_key DESC LIMIT {read_runs} + 1)
UNION ALL
(SELECT * FROM runs r
 WHERE org_id = :org_id AND project_id = :project_id AND branch = :branch
       AND run_key BETWEEN :first_key AND :before_run AND {is_trusted}
 ORDER BY run_key DESC LIMIT {read_runs} + 1)

-- name: ranked_cases  (the constant end: the cases with the largest values, without the run in which the row budget ends)
-- Each row also has `truncated`. Without ranked cases, it is in a row without a case.
first_unread AS MATERIALIZED (  -- the rows of the first run always count
    SELECT greatest(run_no, 2) AS run_no FROM found OFFSET :row_budget::int
), recent AS MATERIALIZED (
    SELECT run_no, run_key FROM newest_run
    WHERE run_no < coalesce((SELECT run_no FROM first_unread), {read_runs} + 1) ORDER BY run_no
), ranked AS MATERIALIZED (
    SELECT * FROM (
        SELECT case_key, sum(value) AS value, min(run_no) AS newest FROM found
        WHERE run_no < coalesce((SELECT run_no FROM first_unread), {read_runs} + 1) AND {ranks_in_any_state}
        GROUP BY case_key ORDER BY value DESC, newest, case_key OFFSET 0
    ) found_case
    WHERE {ranks_of_any_owner} LIMIT :ranked::int + 1
), listed AS MATERIALIZED (
    SELECT case_key, row_number() OVER ()::int AS rank FROM (
        SELECT ranked.case_key
        FROM (SELECT case_key FROM ranked LIMIT :ranked::int) ranked CROSS JOIN LATERAL (
            SELECT 1 FROM cases c WHERE c.org_id = :org_id AND c.case_key = ranked.case_key
              AND {case_filters} LIMIT 1
        ) matching
        LIMIT :page::int
    ) listed
), statistics AS MATERIALIZED (
    SELECT
        case_key, {case_aggregates}
    FROM (  -- one scan per run
        SELECT recent.run_key, r.case_key, r.status, r.flaky, r.duration_ms FROM recent CROSS JOIN LATERAL (
            SELECT r.case_key, r.status, r.flaky, known_duration(r.duration_ms) AS duration_ms FROM results r
            WHERE r.org_id = :org_id AND r.run_key = recent.run_key AND r.run_key BETWEEN :first_key AND :before_run
              AND r.case_key = ANY (ARRAY(SELECT case_key FROM listed)) LIMIT :page::int
        ) r
        ORDER BY r.case_key, recent.run_no
    ) listed_results
    GROUP BY case_key
)
SELECT listed_case.*, search.truncated
FROM (
    SELECT unread.has_runs OR EXISTS (SELECT 1 FROM first_unread)
           OR (SELECT count(*) < :page::int FROM listed) AND (SELECT count(*) > :ranked::int FROM ranked) AS truncated
    FROM unread
) search
LEFT JOIN LATERAL (
    SELECT
        {case_fields},
        key.rank
    FROM listed key JOIN statistics ON statistics.case_key = key.case_key
    CROSS JOIN LATERAL (
        SELECT * FROM cases c WHERE c.org_id = :org_id AND c.case_key = key.case_key LIMIT 1
    ) c
    {last_run_of_case}
) listed_case ON true
ORDER BY listed_case.rank

-- name: page_of_owners
--     (of a project, from :first on in the order of their names, with the numbers of their cases; a loose index scan)
WITH RECURSIVE any_owner AS (
    (SELECT o.owner FROM case_owners o WHERE o.org_id = :org_id AND o.owner >= :first::text ORDER BY o.owner LIMIT 1)
    UNION ALL
    SELECT next.owner FROM any_owner CROSS JOIN LATERAL (
        SELECT o.owner FROM case_owners o WHERE o.org_id = :org_id AND o.owner > any_owner.owner ORDER BY o.owner LIMIT 1
    ) next
), listed AS MATERIALIZED (
    SELECT any_owner.owner, owned.cases FROM any_owner CROSS JOIN LATERAL (
        SELECT count(*)::int AS cases FROM case_owners o
        WHERE o.org_id = :org_id AND o.owner = any_owner.owner AND o.project_id = :project_id
    ) owned
    WHERE owned.cases > 0 LIMIT :page::int + 1
), unhealthy AS MATERIALIZED (
    SELECT o.owner, count(*) FILTER (WHERE state = 'broken')::int AS broken, count(*) FILTER (WHERE state = 'flaky')::int AS flaky
    FROM ({shown_states}) shown CROSS JOIN LATERAL (
        SELECT o.owner FROM case_owners o WHERE o.org_id = :org_id AND o.case_key = shown.case_key LIMIT {cases.MAX_OWNERS}
    ) o
    GROUP BY o.owner
)
SELECT listed.owner, listed.cases, coalesce(unhealthy.broken, 0) AS broken, coalesce(unhealthy.flaky, 0) AS flaky
FROM listed LEFT JOIN unhealthy ON unhealthy.owner = listed.owner
ORDER BY listed.owner

-- name: stored_cases  (to detect a different case with the same key)
SELECT c.org_id, c.case_key, c.project_id, c.case_id, c.suite, c.name, c.occurrence, c.file, c.variant, c.owners,
       c.trusted AND c.promoted IS NOT TRUE AS trusted
FROM unnest(:org_ids::int[], :case_keys::bigint[]) AS requested (org_id, case_key)
CROSS JOIN LATERAL (  -- LIMIT keeps the planner from reading the complete table, which was small when it made the plan
    SELECT * FROM cases WHERE org_id = {requested_organization} AND case_key = requested.case_key LIMIT 1
) c

-- name: committed_cases  (the stored cases, after the end of the transactions that change them)
{stored_cases}
FOR SHARE OF c

-- name: server_state
--     (the files of the tables that ingest caches, the time, the versions of the cases of organizations, and the producers)
SELECT {files_of_cached_tables} AS files, clock_timestamp() AS now, (
    SELECT json_object_agg(org_id, json_build_array(cases_version, deleted_projects))
    FROM organizations WHERE org_id = ANY (:org_ids::int[])
) AS versions, (
    SELECT json_agg(json_build_array(user_id, org_id, project_id)) FROM producers WHERE user_id = ANY (:users::text[])
) AS producers

-- name: files_of_cached_tables
concat_ws(' ', pg_relation_filenode(to_regclass('cases')), pg_relation_filenode(to_regclass('organizations')),
          pg_relation_filenode(to_regclass('projects')))
