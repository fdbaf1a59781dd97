-- $1 any_status
-- $2 statuses
-- $3 flaky
-- $4 min_duration_ms
-- $5 org_id
-- $6 before_run
-- $7 before_case
-- $8 first_key
-- $9 page

-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        SELECT r.*, ($1::bool OR r.status = ANY ($2::text[]::"char"[])) AND ($3::bool IS NULL OR r.flaky = $3::bool)
        AND ($4::int IS NULL OR r.duration_ms >= $4::int) AS matches, row_number() OVER () = 3000 AS is_edge
        FROM (
            SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
            WHERE r.org_id = $5 AND (r.run_key, r.case_key) < ($6, $7)
              AND r.run_key BETWEEN $8 AND $6
            ORDER BY r.run_key DESC, r.case_key DESC LIMIT 3000
        ) r
    ) examined
    WHERE matches OR is_edge LIMIT $9::int + 1
), listed AS (
    SELECT array_agg(fact.run_key) AS run_keys, array_agg(fact.case_key) AS case_keys,
           array_agg(-- One text, because each further array of a page needs about 15 µs. result_items.py splits it.
           CASE WHEN fact.status <> 'p' OR fact.flaky OR fact.attempts > 1
                THEN fact.status::text || '|' || fact.flaky::int || '|' || fact.attempts || coalesce('|' || failure.summary, '') END) AS outcomes,
           array_agg(fact.duration_ms) AS durations_ms, array_agg(fact.started_offset_ms) AS started_offsets_ms
    FROM (
        SELECT * FROM examined WHERE matches
    ) fact CROSS JOIN LATERAL (
        SELECT
            CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
                SELECT detail.summary FROM result_details detail
                WHERE detail.org_id = $5 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
                  AND detail.run_key BETWEEN $8 AND $6 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
            ) END AS summary
    ) failure
)
SELECT listed.*, run.*, edge.*, concat_ws(' ', (SELECT v.version FROM case_versions v WHERE v.org_id = $5), pg_relation_filenode(to_regclass('cases')))
    AS case_version
FROM listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key) AS keys_of_runs, array_agg(r.run_id) AS run_ids, array_agg(r.project_id) AS project_ids,
           array_agg(r.environment) AS environments, array_agg(r.branch) AS branches,
           array_agg((date_part('epoch', r.completed_at) * 1000)::bigint) AS completed_ms
    FROM runs r WHERE r.org_id = $5 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key) AS edge_runs, array_agg(case_key) AS edge_cases FROM examined WHERE is_edge
) edge;
