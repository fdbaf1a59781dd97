-- $1 statuses
-- $2 org_id
-- $3 case_key
-- $4 before_run
-- $5 before_case
-- $6 first_key
-- $7 project_id
-- $8 environment
-- $9 branch
-- $10 commit_sha
-- $11 pull_request
-- $12 labels
-- $13 flaky
-- $14 page

-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
WITH examined AS MATERIALIZED (
    SELECT * FROM (
        SELECT detail.run_key, detail.case_key,
               coalesce(run.matches, false) AND detail.status = ANY ($1::text[]::"char"[]) AS matches,
               row_number() OVER () = 350 AS is_edge
        FROM (
            SELECT d.run_key, d.case_key, d.status FROM result_details d
            WHERE d.org_id = $2 AND d.case_key = $3 AND d.is_last_attempt AND d.status <> 'p'
              AND (d.run_key, d.case_key) < ($4, $5) AND d.run_key BETWEEN $6 AND $4
            ORDER BY d.run_key DESC LIMIT 350
        ) detail
        LEFT JOIN LATERAL (
            SELECT
                (($7::text IS NULL OR r.project_id = $7) AND ($8::text IS NULL OR r.environment = $8)
                AND ($9::text IS NULL OR r.branch = $9)
                AND ($10::text IS NULL OR starts_with(r.commit_sha, $10))
                AND ($11::text IS NULL OR r.pull_request = $11)
                AND ($12::text[] IS NULL OR r.labels @> ALL ((SELECT $12::text[]::jsonb[])::jsonb[]))
                 AND CASE WHEN $13::bool IS NULL THEN (CASE WHEN 'p' = ANY ($1::text[]) THEN r.passed ELSE 0 END
                  + CASE WHEN 'f' = ANY ($1::text[]) THEN r.failed ELSE 0 END
                  + CASE WHEN 'e' = ANY ($1::text[]) THEN r.error ELSE 0 END
                  + CASE WHEN 's' = ANY ($1::text[]) THEN r.skipped ELSE 0 END
                  + CASE WHEN 'c' = ANY ($1::text[]) THEN r.canceled ELSE 0 END)
                      WHEN $13::bool THEN CASE WHEN 'p' = ANY ($1::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($1::text[]) THEN r.passed ELSE 0 END
                       + CASE WHEN 'f' = ANY ($1::text[]) THEN r.failed ELSE 0 END
                       + CASE WHEN 'e' = ANY ($1::text[]) THEN r.error ELSE 0 END
                       + CASE WHEN 's' = ANY ($1::text[]) THEN r.skipped ELSE 0 END
                       + CASE WHEN 'c' = ANY ($1::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($1::text[]) THEN r.flaky ELSE 0 END END > 0) AS matches
            FROM runs r
            WHERE r.org_id = $2 AND r.run_key = detail.run_key LIMIT 1
        ) run ON true
    ) examined
    WHERE matches OR is_edge LIMIT $14::int + 1
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
              AND r.run_key BETWEEN $6 AND $4 LIMIT 1
        ) fact ON true
    ) fact CROSS JOIN LATERAL (
        SELECT
            CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
                SELECT detail.summary FROM result_details detail
                WHERE detail.org_id = $2 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
                  AND detail.run_key BETWEEN $6 AND $4 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
            ) END AS summary
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
