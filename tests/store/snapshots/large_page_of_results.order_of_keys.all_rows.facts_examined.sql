-- $1 org_id
-- $2 before_run
-- $3 before_case
-- $4 first_key
-- $5 page

WITH examined AS MATERIALIZED (
    SELECT *, row_number() OVER () AS row_no FROM (
        SELECT * FROM (
            SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, true AS matches, false AS is_edge FROM results r
            WHERE r.org_id = $1 AND (r.run_key, r.case_key) < ($2, $3)
              AND r.run_key BETWEEN $4 AND $2
            ORDER BY r.run_key DESC, r.case_key DESC
        ) examined
        WHERE matches OR is_edge LIMIT $5::int + 1
    ) examined
), -- `last_no` is the number of the row after which the next page starts: the last one of a full page, or within a budget.
page_keys AS MATERIALIZED (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key) AS case_keys,
           CASE WHEN count(*) FILTER (WHERE matches) > $5::int THEN $5::int
                WHEN count(*) > $5::int OR bool_or(is_edge) THEN count(*) END AS last_no
    FROM examined
), listed_keys AS (
    SELECT * FROM examined WHERE matches LIMIT $5::int
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
), written AS MATERIALIZED (
    SELECT
        fact.row_no,
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
              AND detail.run_key BETWEEN $4 AND $2 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
        ) END || '}', 'null}') AS item
    FROM -- Results of one page share runs, so the members of a run are written once. Every join is a FULL JOIN, which PostgreSQL
    -- always executes as a hash or merge join. The estimates of CTEs are so wrong that it would otherwise choose nested
    -- loops, whose time is quadratic. A hash table contains facts or runs, but not their product.
    (
        SELECT * FROM listed_keys
    ) fact
    FULL JOIN listed_cases test_case ON test_case.case_key = fact.case_key
    FULL JOIN listed_runs run ON run.run_key = fact.run_key
), listed_items AS (
    SELECT row_no, item FROM written WHERE item IS NOT NULL
), page AS MATERIALIZED (
    SELECT string_agg(item, ',' ORDER BY row_no) AS data, coalesce(sum(octet_length(item)), 0) < 4194304 AS fits
    FROM listed_items
), large_page AS MATERIALIZED (
    SELECT string_agg(item, ',' ORDER BY row_no) AS data, max(row_no) AS row_no
    FROM (
        SELECT row_no, item FROM (
            SELECT row_no, item, sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
            FROM listed_items
        ) sized
        WHERE fits
    ) fitting
    WHERE NOT (SELECT fits FROM page)
)
SELECT '[' || coalesce(CASE WHEN page.fits THEN page.data ELSE large_page.data END, '') || ']' AS data,
       run_keys[coalesce(large_page.row_no, last_no)] AS run_key,
       case_keys[coalesce(large_page.row_no, last_no)] AS case_key
FROM page CROSS JOIN large_page CROSS JOIN page_keys;
