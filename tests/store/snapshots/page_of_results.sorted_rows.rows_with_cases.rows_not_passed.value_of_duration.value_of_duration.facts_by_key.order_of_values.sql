-- $1 org_id
-- $2 run_id
-- $3 first_key
-- $4 before_run
-- $5 project_id
-- $6 environment
-- $7 branch
-- $8 commit_sha
-- $9 pull_request
-- $10 labels
-- $11 flaky
-- $12 statuses
-- $13 after_case
-- $14 before_case
-- $15 suite
-- $16 variants
-- $17 words
-- $18 page

-- `data` is null for a page that might be large: large_page_of_results reads it.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        SELECT run.run_key, candidate.case_key, sorted.value, true AS matches, false AS is_edge
        FROM (
            SELECT r.run_key, r.project_id FROM runs r
            WHERE r.org_id = $1 AND r.run_id = $2 AND r.run_key BETWEEN $3 AND $4 AND (($5::text IS NULL OR r.project_id = $5) AND ($6::text IS NULL OR r.environment = $6)
            AND ($7::text IS NULL OR r.branch = $7)
            AND ($8::text IS NULL OR starts_with(r.commit_sha, $8))
            AND ($9::text IS NULL OR r.pull_request = $9)
            AND ($10::text[] IS NULL OR r.labels @> ALL ((SELECT $10::text[]::jsonb[])::jsonb[]))
             AND CASE WHEN $11::bool IS NULL THEN (CASE WHEN 'p' = ANY ($12::text[]) THEN r.passed ELSE 0 END
              + CASE WHEN 'f' = ANY ($12::text[]) THEN r.failed ELSE 0 END
              + CASE WHEN 'e' = ANY ($12::text[]) THEN r.error ELSE 0 END
              + CASE WHEN 's' = ANY ($12::text[]) THEN r.skipped ELSE 0 END
              + CASE WHEN 'c' = ANY ($12::text[]) THEN r.canceled ELSE 0 END)
                  WHEN $11::bool THEN CASE WHEN 'p' = ANY ($12::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($12::text[]) THEN r.passed ELSE 0 END
                   + CASE WHEN 'f' = ANY ($12::text[]) THEN r.failed ELSE 0 END
                   + CASE WHEN 'e' = ANY ($12::text[]) THEN r.error ELSE 0 END
                   + CASE WHEN 's' = ANY ($12::text[]) THEN r.skipped ELSE 0 END
                   + CASE WHEN 'c' = ANY ($12::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($12::text[]) THEN r.flaky ELSE 0 END END > 0)
            LIMIT 1
        ) run
        LEFT JOIN LATERAL (
            SELECT found.value FROM (SELECT run.run_key, $13::bigint AS case_key) key CROSS JOIN LATERAL (
                SELECT -r.duration_ms AS value FROM results r
                WHERE r.org_id = $1 AND r.run_key = key.run_key AND r.case_key = key.case_key
                  AND r.run_key BETWEEN $3 AND $4 LIMIT 1
            ) found
        ) last_of_page ON true
        CROSS JOIN LATERAL (
            SELECT candidate.case_key, coalesce(c.matches, false) AS matches
            FROM (
                SELECT candidate.case_key, candidate.summary, true AS matches
                FROM unnest($12::text[]::"char"[]) AS selected (status)
                CROSS JOIN LATERAL (
                    SELECT d.case_key, d.summary FROM result_details d
                    WHERE d.org_id = $1 AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
                      AND d.run_key = run.run_key AND d.run_key BETWEEN $3 AND $4
                      AND (d.run_key, d.case_key) < ($4, $14)
                    ORDER BY d.case_key DESC LIMIT 2147483647
                ) candidate
                ORDER BY candidate.case_key DESC LIMIT 2147483647
            ) candidate
            LEFT JOIN LATERAL (
                SELECT ($15::text IS NULL OR c.suite = $15::text)
                AND ($16::text[] IS NULL OR c.variant @> ALL ($16::text[]::jsonb[]))
                AND ($17::text[] IS NULL OR NOT EXISTS (
                    SELECT 1 FROM unnest($17::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AS matches FROM cases c
                WHERE candidate.matches AND c.org_id = $1 AND c.case_key = candidate.case_key LIMIT 1
            ) c ON true
        ) candidate
        CROSS JOIN LATERAL (
            SELECT found.value FROM (SELECT run.run_key, candidate.case_key) key CROSS JOIN LATERAL (
                SELECT -r.duration_ms AS value FROM results r
                WHERE r.org_id = $1 AND r.run_key = key.run_key AND r.case_key = key.case_key
                  AND r.run_key BETWEEN $3 AND $4 LIMIT 1
            ) found
        ) sorted
        WHERE candidate.matches
          AND ($13::bigint IS NULL OR (sorted.value, candidate.case_key) > (last_of_page.value, $13::bigint))
        ORDER BY sorted.value, candidate.case_key LIMIT $18::int + 1
    ) examined
    WHERE matches OR is_edge LIMIT $18::int + 1
), -- `last_no` is the number of the row after which the next page starts: the last one of a full page, or within a budget.
page_keys AS MATERIALIZED (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key) AS case_keys,
           CASE WHEN count(*) FILTER (WHERE matches) > $18::int THEN $18::int
                WHEN count(*) > $18::int OR bool_or(is_edge) THEN count(*) END AS last_no
    FROM examined
), listed_keys AS (
    SELECT * FROM examined WHERE matches LIMIT $18::int
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
        ORDER BY fact.value, fact.case_key
    ) written OFFSET 0
) page CROSS JOIN page_keys;
