-- $1 rows
-- $2 run_keys
-- $3 statuses
-- $4 org_id
-- $5 first_key
-- $6 before_run
-- $7 before_case
-- $8 any_status
-- $9 flaky
-- $10 min_duration_ms
-- $11 suite
-- $12 owner
-- $13 variants
-- $14 words
-- $15 case_key
-- $16 case_id
-- $17 page

WITH fact AS (
    SELECT candidate.run_key, candidate.case_key, found.status, found.flaky, found.attempts, found.duration_ms, found.started_offset_ms,
    coalesce(found.matches, false) AS matches, coalesce(candidate.summary, '') AS summary, candidate.fingerprint, candidate.file, row_number() OVER () = $1::int AS is_edge
    FROM (
        SELECT d.* FROM unnest($2::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
            SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file
            FROM unnest($3::text[]::"char"[]) AS selected (status)
            CROSS JOIN LATERAL (
                SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
                WHERE d.org_id = $4 AND d.status = selected.status AND d.is_last_attempt AND d.status <> 'p'
                  AND d.run_key = run.run_key AND d.run_key BETWEEN $5 AND $6
                  AND (d.run_key, d.case_key) < ($6, $7)
                ORDER BY d.case_key DESC LIMIT $1::int
            ) d
            ORDER BY d.case_key DESC LIMIT $1::int
        ) d
        LIMIT 3000
    ) candidate
    LEFT JOIN LATERAL (
        SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, ($8::bool OR r.status = ANY ($3::text[]::"char"[])) AND ($9::bool IS NULL OR r.flaky = $9::bool)
        AND ($10::int IS NULL OR r.duration_ms >= $10::int) AS matches FROM results r
        WHERE r.org_id = $4 AND r.run_key = candidate.run_key AND r.case_key = candidate.case_key
          AND r.run_key BETWEEN $5 AND $6 LIMIT 1
    ) found ON true
    LIMIT $1::int
)
-- The results that match, in the order of the list, their runs, and the last candidate within the budget as the last edge.
, page AS MATERIALIZED (
    SELECT
        fact.run_key, fact.case_key, c.case_id, c.variant::text AS variant, c.suite, c.name,
        coalesce(fact.file, failure.file, c.file) AS file,
        status_name(fact.status) AS status, fact.flaky, fact.attempts, fact.duration_ms, fact.started_offset_ms,
        nullif(coalesce(fact.summary, failure.summary), '') AS failure_summary,
        coalesce(fact.fingerprint, failure.fingerprint) AS fingerprint,
        fact.is_edge
    FROM fact
    LEFT JOIN LATERAL (
        SELECT * FROM cases c
        WHERE fact.matches AND c.org_id = $4 AND c.case_key = fact.case_key AND ($11::text IS NULL OR c.suite = $11::text) AND ($12::text IS NULL OR $12 = ANY (c.owners))
        AND ($13::text[] IS NULL OR c.variant @> ALL ($13::text[]::jsonb[]))
        AND ($14::text[] IS NULL OR NOT EXISTS (
            SELECT 1 FROM unnest($14::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($15::bigint IS NULL OR c.case_key = $15::bigint)
        AND ($16::text IS NULL OR c.case_id = $16::text) LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file FROM result_details d
        WHERE fact.summary IS NULL AND (fact.status <> 'p' OR fact.flaky)
          AND d.org_id = $4 AND d.run_key = fact.run_key AND d.case_key = fact.case_key
          AND d.run_key BETWEEN $5 AND $6 AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky) LIMIT 1
    ) failure ON true
    WHERE c.name IS NOT NULL OR fact.is_edge
    LIMIT $17::int + 1
)
SELECT listed.*, run.*, edge.*
FROM (
    SELECT array_agg(run_key) AS run_keys, array_agg(case_key), array_agg(case_id), array_agg(variant), array_agg(suite),
           array_agg(name), array_agg(file), array_agg(status),
           array_agg(flaky), array_agg(attempts), array_agg(duration_ms), array_agg(started_offset_ms),
           array_agg(failure_summary), array_agg(fingerprint)
    FROM page WHERE name IS NOT NULL
) listed CROSS JOIN LATERAL (
    SELECT array_agg(r.run_key), array_agg(r.run_id), array_agg(r.project_id), array_agg(r.environment),
           array_agg(r.branch), array_agg(r.commit_sha), array_agg((r.trusted IS NOT FALSE))
    FROM runs r WHERE r.org_id = $4 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key), array_agg(case_key) FROM page WHERE is_edge
) edge;
