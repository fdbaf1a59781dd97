-- $1 run_keys
-- $2 case_keys
-- $3 org_id
-- $4 first_key
-- $5 before_run

WITH page_keys AS (
    SELECT $1::uuid[] AS run_keys, $2::bigint[] AS case_keys
), listed_keys AS (
    SELECT * FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS key (run_key, case_key, row_no)
), listed_runs AS MATERIALIZED (
    SELECT
        r.run_key, r.completed_at,
        '{"id":"res_' || replace(r.run_key::text, '-', '') AS id_part,
        '","run_id":' || to_json(r.run_id) || ',"project_id":' || to_json(r.project_id)
        || ',"environment":' || coalesce(to_json(r.environment)::text, 'null')
        || ',"branch":' || coalesce(to_json(r.branch)::text, 'null') || ',"case":"case_' AS run_part,
        ',"completed_at":"' || rfc3339(r.completed_at) || '","failure_summary":' AS time_part
    FROM runs r WHERE r.org_id = $3 AND r.run_key = ANY ((SELECT run_keys FROM page_keys)::uuid[])
), listed_cases AS (
    SELECT
        c.case_key, encode(int8send(c.case_key), 'hex') AS hex, c.members AS case_part
    FROM cases c WHERE c.org_id = $3 AND c.case_key = ANY ((SELECT case_keys FROM page_keys)::bigint[])
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
            WHERE detail.org_id = $3 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
              AND detail.run_key BETWEEN $4 AND $5 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
        ) END || '}', 'null}') AS item
    FROM -- Results of one page share runs, so the members of a run are written once. Every join is a FULL JOIN, which PostgreSQL
    -- always executes as a hash or merge join. The estimates of CTEs are so wrong that it would otherwise choose nested
    -- loops, whose time is quadratic. A hash table contains facts or runs, but not their product.
    (
        SELECT key.*, fact.*
        FROM listed_keys key CROSS JOIN LATERAL (
            SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
            WHERE r.org_id = $3 AND r.run_key = key.run_key AND r.case_key = key.case_key
              AND r.run_key BETWEEN $4 AND $5 LIMIT 1
        ) fact
    ) fact
    FULL JOIN listed_cases test_case ON test_case.case_key = fact.case_key
    FULL JOIN listed_runs run ON run.run_key = fact.run_key
), listed_items AS (
    SELECT row_no, item FROM written WHERE item IS NOT NULL
)
SELECT row_no, item FROM (
    SELECT row_no, item, sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
    FROM listed_items
) sized
WHERE fits
ORDER BY row_no;
