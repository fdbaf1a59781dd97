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
-- $14 any_status
-- $15 min_duration_ms
-- $16 case_key
-- $17 before_case
-- $18 page

-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
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
            SELECT r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, ($14::bool OR r.status = ANY ($12::text[]::"char"[])) AND ($11::bool IS NULL OR r.flaky = $11::bool)
            AND ($15::int IS NULL OR r.duration_ms >= $15::int) AS matches
            FROM results r
            WHERE r.org_id = $1 AND r.run_key = run.run_key AND r.case_key = $16
              AND r.run_key BETWEEN $3 AND $4 AND (r.run_key, r.case_key) < ($4, $17)
            LIMIT 1
        ) candidate
        CROSS JOIN LATERAL (
            SELECT found.value FROM (SELECT run.run_key, candidate.case_key) key CROSS JOIN LATERAL (
                SELECT -candidate.duration_ms AS value
            ) found
        ) sorted
        WHERE candidate.matches
          AND ($13::bigint IS NULL OR (sorted.value, candidate.case_key) > (last_of_page.value, $13::bigint))
        ORDER BY sorted.value, candidate.case_key LIMIT $18::int + 1
    ) examined
    WHERE matches OR is_edge LIMIT $18::int + 1
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
            WHERE r.org_id = $1 AND r.run_key = key.run_key AND r.case_key = key.case_key
              AND r.run_key BETWEEN $3 AND $4 LIMIT 1
        ) fact ON true
    ) fact CROSS JOIN LATERAL (
        SELECT
            CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
                SELECT detail.summary FROM result_details detail
                WHERE detail.org_id = $1 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
                  AND detail.run_key BETWEEN $3 AND $4 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
            ) END AS summary
    ) failure
)
SELECT listed.*, run.*, edge.*, concat_ws(' ', (SELECT v.version FROM case_versions v WHERE v.org_id = $1), pg_relation_filenode(to_regclass('cases')))
    AS case_version
FROM listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key) AS keys_of_runs, array_agg(r.run_id) AS run_ids, array_agg(r.project_id) AS project_ids,
           array_agg(r.environment) AS environments, array_agg(r.branch) AS branches,
           array_agg((date_part('epoch', r.completed_at) * 1000)::bigint) AS completed_ms
    FROM runs r WHERE r.org_id = $1 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key) AS edge_runs, array_agg(case_key) AS edge_cases FROM examined WHERE is_edge
) edge;
