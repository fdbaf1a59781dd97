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

-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
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
                WHERE org_id = $9 AND environment = $2 AND run_key BETWEEN $10 AND $11
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
            WHERE r.org_id = $9 AND r.run_key = key.run_key AND r.case_key = key.case_key
              AND r.run_key BETWEEN $10 AND $11 LIMIT 1
        ) fact ON true
    ) fact CROSS JOIN LATERAL (
        SELECT
            CASE WHEN fact.status <> 'p' OR fact.flaky THEN (
                SELECT detail.summary FROM result_details detail
                WHERE detail.org_id = $9 AND detail.run_key = fact.run_key AND detail.case_key = fact.case_key
                  AND detail.run_key BETWEEN $10 AND $11 AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky) LIMIT 1
            ) END AS summary
    ) failure
)
SELECT listed.*, run.*, edge.*, concat_ws(' ', (SELECT v.version FROM case_versions v WHERE v.org_id = $9), pg_relation_filenode(to_regclass('cases')))
    AS case_version
FROM listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key) AS keys_of_runs, array_agg(r.run_id) AS run_ids, array_agg(r.project_id) AS project_ids,
           array_agg(r.environment) AS environments, array_agg(r.branch) AS branches,
           array_agg((date_part('epoch', r.completed_at) * 1000)::bigint) AS completed_ms
    FROM runs r WHERE r.org_id = $9 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key) AS edge_runs, array_agg(case_key) AS edge_cases FROM examined WHERE is_edge
) edge;
