-- $1 statuses
-- $2 org_id
-- $3 before_run
-- $4 before_case
-- $5 first_key
-- $6 page

-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        SELECT candidate.run_key, candidate.case_key, candidate.summary, true AS matches, false AS is_edge
        FROM unnest($1::text[]::"char"[]) AS selected (status)
        CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key, d.summary FROM result_details d
            WHERE d.org_id = $2 AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
              AND (d.run_key, d.case_key) < ($3, $4) AND d.run_key BETWEEN $5 AND $3
            ORDER BY d.run_key DESC, d.case_key DESC LIMIT $6::int + 1
        ) candidate
        ORDER BY candidate.run_key DESC, candidate.case_key DESC
    ) examined
    WHERE matches OR is_edge LIMIT $6::int + 1
), listed AS (
    SELECT array_agg(fact.run_key) AS run_keys, array_agg(fact.case_key) AS case_keys,
           array_agg(-- One text, because each further array of a page needs about 15 µs. result_items.py splits it.
           CASE WHEN fact.status <> 'p' OR fact.flaky OR fact.attempts > 1
                THEN fact.status::text || '|' || fact.flaky::int || '|' || fact.attempts || coalesce('|' || failure.summary, '') END) AS outcomes,
           array_agg(fact.duration_ms) AS durations_ms, array_agg(fact.started_offset_ms) AS started_offsets_ms
    FROM (
        SELECT key.*, fact.*
        FROM (SELECT * FROM examined WHERE matches) key LEFT JOIN LATERAL (
            SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
            WHERE r.org_id = $2 AND r.run_key = key.run_key AND r.case_key = key.case_key
              AND r.run_key BETWEEN $5 AND $3 LIMIT 1
        ) fact ON true
    ) fact CROSS JOIN LATERAL (
        SELECT
            fact.summary AS summary
    ) failure
)
SELECT listed.*, run.*, edge.*, concat_ws(' ', (SELECT v.version FROM case_versions v WHERE v.org_id = $2), pg_relation_filenode(to_regclass('cases')))
    AS case_version
FROM listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key) AS keys_of_runs, array_agg(r.run_id) AS run_ids, array_agg(r.project_id) AS project_ids,
           array_agg(r.environment) AS environments, array_agg(r.branch) AS branches,
           array_agg((date_part('epoch', r.completed_at) * 1000)::bigint) AS completed_ms
    FROM runs r WHERE r.org_id = $2 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key) AS edge_runs, array_agg(case_key) AS edge_cases FROM examined WHERE is_edge
) edge;
