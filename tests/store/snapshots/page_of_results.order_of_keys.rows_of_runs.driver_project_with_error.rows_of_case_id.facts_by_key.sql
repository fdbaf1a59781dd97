-- $1 project_id
-- $2 environment
-- $3 branch
-- $4 commit_sha
-- $5 pull_request
-- $6 labels
-- $7 flaky
-- $8 statuses
-- $9 org_id
-- $10 first_key
-- $11 before_run
-- $12 suite
-- $13 variants
-- $14 words
-- $15 case_id
-- $16 before_case
-- $17 any_status
-- $18 min_duration_ms
-- $19 page

-- `data` is null for a page that might be large: large_page_of_results reads it.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        SELECT run.run_key, candidate.*, run.row_no = 150 OR row_number() OVER () = 150 AS is_edge
        FROM (
            SELECT
                r.run_key, r.project_id, row_number() OVER () AS row_no,
                (($1::text IS NULL OR r.project_id = $1) AND ($2::text IS NULL OR r.environment = $2)
                AND ($3::text IS NULL OR r.branch = $3)
                AND ($4::text IS NULL OR starts_with(r.commit_sha, $4))
                AND ($5::text IS NULL OR r.pull_request = $5)
                AND ($6::text[] IS NULL OR r.labels @> ALL ((SELECT $6::text[]::jsonb[])::jsonb[]))
                 AND CASE WHEN $7::bool IS NULL THEN (CASE WHEN 'p' = ANY ($8::text[]) THEN r.passed ELSE 0 END
                  + CASE WHEN 'f' = ANY ($8::text[]) THEN r.failed ELSE 0 END
                  + CASE WHEN 'e' = ANY ($8::text[]) THEN r.error ELSE 0 END
                  + CASE WHEN 's' = ANY ($8::text[]) THEN r.skipped ELSE 0 END
                  + CASE WHEN 'c' = ANY ($8::text[]) THEN r.canceled ELSE 0 END)
                      WHEN $7::bool THEN CASE WHEN 'p' = ANY ($8::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($8::text[]) THEN r.passed ELSE 0 END
                       + CASE WHEN 'f' = ANY ($8::text[]) THEN r.failed ELSE 0 END
                       + CASE WHEN 'e' = ANY ($8::text[]) THEN r.error ELSE 0 END
                       + CASE WHEN 's' = ANY ($8::text[]) THEN r.skipped ELSE 0 END
                       + CASE WHEN 'c' = ANY ($8::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($8::text[]) THEN r.flaky ELSE 0 END END > 0) AS matches
            FROM (
                SELECT * FROM runs
                WHERE org_id = $9 AND project_id = $1 AND error > 0 AND run_key BETWEEN $10 AND $11
                ORDER BY run_key DESC LIMIT 150
            ) r
        ) run
        LEFT JOIN LATERAL (  -- OFFSET 0: the rows of the last run within the budget are read only if it matches
            SELECT candidate.*
            FROM (SELECT run.run_key, run.project_id WHERE run.matches OFFSET 0) run CROSS JOIN LATERAL (
                SELECT c.case_key, c.matches AND coalesce(r.matches, false) AS matches
                FROM (
                    SELECT c.case_key, ($12::text IS NULL OR c.suite = $12::text)
                    AND ($13::text[] IS NULL OR c.variant @> ALL ($13::text[]::jsonb[]))
                    AND ($14::text[] IS NULL OR NOT EXISTS (
                        SELECT 1 FROM unnest($14::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AS matches FROM cases c
                    WHERE c.org_id = $9 AND c.case_id = $15::text AND c.project_id = run.project_id
                      AND c.case_key < CASE WHEN run.run_key = $11 THEN $16 ELSE 9223372036854775807 END
                    ORDER BY c.case_key DESC LIMIT 150
                ) c
                LEFT JOIN LATERAL (
                    SELECT ($17::bool OR r.status = ANY ($8::text[]::"char"[])) AND ($7::bool IS NULL OR r.flaky = $7::bool)
                    AND ($18::int IS NULL OR r.duration_ms >= $18::int) AS matches FROM results r
                    WHERE r.org_id = $9 AND r.run_key = run.run_key AND r.case_key = c.case_key
                      AND r.run_key BETWEEN $10 AND $11 LIMIT 1
                ) r ON true
            ) candidate
        ) candidate ON true
        WHERE run.matches OR run.row_no = 150
        LIMIT 150
    ) examined
    WHERE matches OR is_edge LIMIT $19::int + 1
), -- `last_no` is the number of the row after which the next page starts: the last one of a full page, or within a budget.
page_keys AS MATERIALIZED (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key) AS case_keys,
           CASE WHEN count(*) FILTER (WHERE matches) > $19::int THEN $19::int
                WHEN count(*) > $19::int OR bool_or(is_edge) THEN count(*) END AS last_no
    FROM examined
), listed_keys AS (
    SELECT * FROM examined WHERE matches LIMIT $19::int
), listed_runs AS MATERIALIZED (
    SELECT
        r.run_key, r.completed_at,
        '{"id":"res_' || replace(r.run_key::text, '-', '') AS id_part,
        '","run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
        || ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
        || ',"branch":' || coalesce(to_json(r.branch)::text, 'null') || ',"case":"case_' AS run_part,
        ',"completed_at":"' || rfc3339(r.completed_at) || '","failure_summary":' AS time_part
    FROM runs r WHERE r.org_id = $9 AND r.run_key = ANY ((SELECT run_keys FROM page_keys)::uuid[])
), listed_cases AS (
    SELECT
        c.case_key, encode(int8send(c.case_key), 'hex') AS hex, c.members AS case_part
    FROM cases c WHERE c.org_id = $9 AND c.case_key = ANY ((SELECT case_keys FROM page_keys)::bigint[])
    ORDER BY c.case_key DESC  -- like the results of a run, so that the sort of a page has little to do
)
SELECT CASE WHEN page.data IS NULL THEN '[]'
            WHEN octet_length(page.data) < 4194304 THEN '[' || page.data || ']' END AS data,
       run_keys[last_no] AS run_key, case_keys[last_no] AS case_key
FROM (
    SELECT string_agg(item, ',') AS data FROM (
        SELECT
            fact.run_key, fact.case_key,  -- before the item, whose length varies, because the sort reads them most often
            -- This is the object of a list, of a history, and the first part of one result. Few long parts are faster than many short
            -- ones, because each operator copies its operands.
            run.id_part || test_case.hex || run.run_part || test_case.case_part
            || CASE WHEN fact.status = 'p' AND NOT fact.flaky AND fact.attempts = 1
                    THEN 'passed","flaky":' || 'false,"attempts":1,"duration_ms":'
                    ELSE status_name(fact.status)
                         || CASE WHEN fact.flaky THEN '","flaky":' || 'true,"attempts":' ELSE '","flaky":' || 'false,"attempts":' END
                         || fact.attempts || ',"duration_ms":' END
            || coalesce(known_duration(fact.duration_ms)::text, 'null')
            || coalesce(',"started_at":"' || rfc3339(known_start(run.completed_at, fact.started_offset_ms)) || '"', ',"started_at":' || 'null') || run.time_part || coalesce(CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
                SELECT to_json(detail.summary)::text FROM result_details detail
                WHERE detail.org_id = $9 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
                  AND detail.run_key BETWEEN $10 AND $11 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
            ) END || '}', 'null}') AS item
        FROM -- Results of one page share runs, so the members of a run are written once. Every join is a FULL JOIN, which PostgreSQL
        -- always executes as a hash or merge join. The estimates of CTEs are so wrong that it would otherwise choose nested
        -- loops, whose time is quadratic. A hash table contains facts or runs, but not their product.
        (
            SELECT key.*, fact.*
            FROM listed_keys key CROSS JOIN LATERAL (
                SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
                WHERE r.org_id = $9 AND r.run_key = key.run_key AND r.case_key = key.case_key
                  AND r.run_key BETWEEN $10 AND $11 LIMIT 1
            ) fact
        ) fact
        FULL JOIN listed_cases test_case ON test_case.case_key = fact.case_key
        FULL JOIN listed_runs run ON run.run_key = fact.run_key
        ORDER BY fact.run_key DESC NULLS LAST, fact.case_key DESC
    ) written OFFSET 0
) page CROSS JOIN page_keys;
