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

-- Selects the keys first, because joins before LIMIT would read the complete list. If more results match than a page has, the
-- last one only shows that the list continues. A null outcome belongs to a result that passed in its only attempt, and a
-- null duration to one that retention deleted. If the budget ended, the last ones of `edge_runs` and `edge_cases` are its end.
-- The arrays have the order of `examined`: the facts are its rows, or are looked up for each of its rows.
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
