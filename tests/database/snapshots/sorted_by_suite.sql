-- $1 any_status
-- $2 statuses
-- $3 flaky
-- $4 min_duration_ms
-- $5 has_details
-- $6 org_id
-- $7 run_key
-- $8 fingerprint
-- $9 first_key
-- $10 before_run
-- $11 filters_cases
-- $12 suite
-- $13 owner
-- $14 variants
-- $15 words
-- $16 case_key
-- $17 case_id
-- $18 after_case
-- $19 page

WITH candidate AS MATERIALIZED (
    SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, r.summary, r.fingerprint, r.file FROM (
        SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, NULL::text AS summary, NULL::bigint AS fingerprint, NULL::text AS file, ($1::bool OR r.status = ANY ($2::text[]::"char"[])) AND ($3::bool IS NULL OR r.flaky = $3::bool)
        AND ($4::int IS NULL OR r.duration_ms >= $4::int) AS matches FROM results r
        WHERE NOT $5::bool AND r.org_id = $6 AND r.run_key = $7
        UNION ALL
        SELECT candidate.run_key, candidate.case_key, found.status,
               found.flaky, found.attempts, found.duration_ms, found.started_offset_ms,
               candidate.summary, candidate.fingerprint, candidate.file, found.matches
        FROM (
            SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
            WHERE $5::bool AND d.org_id = $6 AND d.run_key = $7 AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky)
              AND ($8::bigint IS NULL OR d.fingerprint = $8)
            LIMIT 20000
        ) candidate
        LEFT JOIN LATERAL (
            SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, ($1::bool OR r.status = ANY ($2::text[]::"char"[])) AND ($3::bool IS NULL OR r.flaky = $3::bool)
            AND ($4::int IS NULL OR r.duration_ms >= $4::int) AS matches FROM results r
            WHERE r.org_id = $6 AND r.run_key = candidate.run_key AND r.case_key = candidate.case_key
              AND r.run_key BETWEEN $9 AND $10 LIMIT 1
        ) found ON true
    ) r LEFT JOIN LATERAL (
        SELECT true AS matches FROM cases c
        WHERE $11::bool AND c.org_id = $6 AND c.case_key = r.case_key AND ($12::text IS NULL OR c.suite = $12::text) AND ($13::text IS NULL OR $13 = ANY (c.owners))
        AND ($14::text[] IS NULL OR c.variant @> ALL ($14::text[]::jsonb[]))
        AND ($15::text[] IS NULL OR NOT EXISTS (
            SELECT 1 FROM unnest($15::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($16::bigint IS NULL OR c.case_key = $16::bigint)
        AND ($17::text IS NULL OR c.case_id = $17::text) LIMIT 1
    ) c ON true
    WHERE r.matches AND (c.matches OR NOT $11::bool)
), fact AS (
    SELECT candidate.*, true AS matches, false AS is_edge FROM candidate CROSS JOIN LATERAL (
        SELECT ARRAY[coalesce(c.file, ''), c.suite, c.name] COLLATE "C" AS names FROM cases c WHERE c.org_id = $6 AND c.case_key = candidate.case_key LIMIT 1
    ) sorted
    WHERE $18::bigint IS NULL OR (sorted.names, candidate.case_key) > (
        (SELECT ARRAY[coalesce(c.file, ''), c.suite, c.name] COLLATE "C" FROM cases c WHERE c.org_id = $6 AND c.case_key = $18::bigint LIMIT 1),
        $18::bigint)
    ORDER BY sorted.names, candidate.case_key LIMIT $19::int + 1
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
        WHERE fact.matches AND c.org_id = $6 AND c.case_key = fact.case_key AND ($12::text IS NULL OR c.suite = $12::text) AND ($13::text IS NULL OR $13 = ANY (c.owners))
        AND ($14::text[] IS NULL OR c.variant @> ALL ($14::text[]::jsonb[]))
        AND ($15::text[] IS NULL OR NOT EXISTS (
            SELECT 1 FROM unnest($15::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($16::bigint IS NULL OR c.case_key = $16::bigint)
        AND ($17::text IS NULL OR c.case_id = $17::text) LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file FROM result_details d
        WHERE fact.summary IS NULL AND (fact.status <> 'p' OR fact.flaky)
          AND d.org_id = $6 AND d.run_key = fact.run_key AND d.case_key = fact.case_key
          AND d.run_key BETWEEN $9 AND $10 AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky) LIMIT 1
    ) failure ON true
    WHERE c.name IS NOT NULL OR fact.is_edge
    LIMIT $19::int + 1
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
    FROM runs r WHERE r.org_id = $6 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key), array_agg(case_key) FROM page WHERE is_edge
) edge;
