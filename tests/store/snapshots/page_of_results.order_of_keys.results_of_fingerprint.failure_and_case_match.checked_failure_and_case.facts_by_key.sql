-- $1 org_id
-- $2 fingerprint
-- $3 first_key
-- $4 before_run
-- $5 before_case
-- $6 project_id
-- $7 environment
-- $8 branch
-- $9 commit_sha
-- $10 pull_request
-- $11 labels
-- $12 flaky
-- $13 statuses
-- $14 any_status
-- $15 min_duration_ms
-- $16 suite
-- $17 variants
-- $18 words
-- $19 case_key
-- $20 case_id
-- $21 page

-- `data` is null for a page that might be large: large_page_of_results reads it.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        -- The last minute within the budget ends with a row that isn't a result, at the start of the part of the minute that was read.
        SELECT failure.run_key, failure.case_key, coalesce(run.matches, false) AND coalesce(fact.matches AND test_case.matches, false) AS matches,
               failure.is_end OR row_number() OVER () = 150 AS is_edge
        FROM (
            SELECT failure.*
            FROM (
                SELECT minute, first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key, row_number() OVER () = 150 AS is_last FROM (
                    SELECT DISTINCT g.minute FROM failure_group_minutes g
                    WHERE g.org_id = $1 AND g.fingerprint = $2
                      AND g.minute BETWEEN completion_minute($3) AND completion_minute($4)
                      AND first_run_key_of_minute(g.minute) < $4
                      AND ($3, (-9223372036854775808)::bigint) < ($4, $5) -- the range isn't read completely
                    ORDER BY g.minute DESC LIMIT 150
                ) minute
                OFFSET 0
            ) minute CROSS JOIN LATERAL (
                (SELECT d.run_key, d.case_key, d.status, false AS is_end
                 FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                     SELECT d.run_key, d.case_key, d.status FROM result_details d
                     WHERE d.org_id = $1 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                       AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $2
                       AND (d.run_key, d.case_key) < ($4, $5) AND d.run_key BETWEEN $3 AND $4
                     ORDER BY d.run_key DESC, d.case_key DESC LIMIT 150
                 ) d
                 ORDER BY d.run_key DESC, d.case_key DESC LIMIT 150)
                UNION ALL
                SELECT greatest(minute.first_key, $3), (-9223372036854775808)::bigint, NULL, true WHERE minute.is_last
            ) failure
            LIMIT 150
        ) failure
        LEFT JOIN LATERAL (
            SELECT
                (($6::text IS NULL OR r.project_id = $6) AND ($7::text IS NULL OR r.environment = $7)
                AND ($8::text IS NULL OR r.branch = $8)
                AND ($9::text IS NULL OR starts_with(r.commit_sha, $9))
                AND ($10::text IS NULL OR r.pull_request = $10)
                AND ($11::text[] IS NULL OR r.labels @> ALL ((SELECT $11::text[]::jsonb[])::jsonb[]))
                 AND CASE WHEN $12::bool IS NULL THEN (CASE WHEN 'p' = ANY ($13::text[]) THEN r.passed ELSE 0 END
                  + CASE WHEN 'f' = ANY ($13::text[]) THEN r.failed ELSE 0 END
                  + CASE WHEN 'e' = ANY ($13::text[]) THEN r.error ELSE 0 END
                  + CASE WHEN 's' = ANY ($13::text[]) THEN r.skipped ELSE 0 END
                  + CASE WHEN 'c' = ANY ($13::text[]) THEN r.canceled ELSE 0 END)
                      WHEN $12::bool THEN CASE WHEN 'p' = ANY ($13::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($13::text[]) THEN r.passed ELSE 0 END
                       + CASE WHEN 'f' = ANY ($13::text[]) THEN r.failed ELSE 0 END
                       + CASE WHEN 'e' = ANY ($13::text[]) THEN r.error ELSE 0 END
                       + CASE WHEN 's' = ANY ($13::text[]) THEN r.skipped ELSE 0 END
                       + CASE WHEN 'c' = ANY ($13::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($13::text[]) THEN r.flaky ELSE 0 END END > 0) AS matches
            FROM runs r
            WHERE r.org_id = $1 AND r.run_key = failure.run_key LIMIT 1
        ) run ON true
        LEFT JOIN LATERAL (
            SELECT ($14::bool OR r.status = ANY ($13::text[]::"char"[])) AND ($12::bool IS NULL OR r.flaky = $12::bool)
            AND ($15::int IS NULL OR r.duration_ms >= $15::int) AS matches FROM results r
            WHERE r.org_id = $1 AND r.run_key = failure.run_key AND r.case_key = failure.case_key
              AND r.run_key BETWEEN $3 AND $4 LIMIT 1
        ) fact ON true
        LEFT JOIN LATERAL (
            SELECT ($16::text IS NULL OR c.suite = $16::text)
            AND ($17::text[] IS NULL OR c.variant @> ALL ($17::text[]::jsonb[]))
            AND ($18::text[] IS NULL OR NOT EXISTS (
                SELECT 1 FROM unnest($18::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($19::bigint IS NULL OR c.case_key = $19::bigint)
                   AND ($20::text IS NULL OR c.case_id = $20::text) AS matches
            FROM cases c
            WHERE c.org_id = $1 AND c.case_key = failure.case_key LIMIT 1
        ) test_case ON true
    ) examined
    WHERE matches OR is_edge LIMIT $21::int + 1
), -- `last_no` is the number of the row after which the next page starts: the last one of a full page, or within a budget.
page_keys AS MATERIALIZED (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key) AS case_keys,
           CASE WHEN count(*) FILTER (WHERE matches) > $21::int THEN $21::int
                WHEN count(*) > $21::int OR bool_or(is_edge) THEN count(*) END AS last_no
    FROM examined
), listed_keys AS (
    SELECT * FROM examined WHERE matches LIMIT $21::int
), listed_runs AS MATERIALIZED (
    SELECT
        r.run_key, r.completed_at,
        '{"id":"res_' || replace(r.run_key::text, '-', '') AS id_part,
        '","run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
        || ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
        || ',"branch":' || coalesce(to_json(r.branch)::text, 'null') || ',"case":"case_' AS run_part,
        ',"completed_at":"' || rfc3339(r.completed_at) || '","failure_summary":' AS time_part
    FROM runs r WHERE r.org_id = $1 AND r.run_key = ANY ((SELECT run_keys FROM page_keys)::uuid[])
), listed_cases AS (
    SELECT
        c.case_key, encode(int8send(c.case_key), 'hex') AS hex, c.members AS case_part
    FROM cases c WHERE c.org_id = $1 AND c.case_key = ANY ((SELECT case_keys FROM page_keys)::bigint[])
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
                WHERE detail.org_id = $1 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
                  AND detail.run_key BETWEEN $3 AND $4 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
            ) END || '}', 'null}') AS item
        FROM -- Results of one page share runs, so the members of a run are written once. Every join is a FULL JOIN, which PostgreSQL
        -- always executes as a hash or merge join. The estimates of CTEs are so wrong that it would otherwise choose nested
        -- loops, whose time is quadratic. A hash table contains facts or runs, but not their product.
        (
            SELECT key.*, fact.*
            FROM listed_keys key CROSS JOIN LATERAL (
                SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
                WHERE r.org_id = $1 AND r.run_key = key.run_key AND r.case_key = key.case_key
                  AND r.run_key BETWEEN $3 AND $4 LIMIT 1
            ) fact
        ) fact
        FULL JOIN listed_cases test_case ON test_case.case_key = fact.case_key
        FULL JOIN listed_runs run ON run.run_key = fact.run_key
        ORDER BY fact.run_key DESC NULLS LAST, fact.case_key DESC
    ) written OFFSET 0
) page CROSS JOIN page_keys;
