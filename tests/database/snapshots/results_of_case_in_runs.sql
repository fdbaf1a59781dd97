-- $1 any_status
-- $2 statuses
-- $3 flaky
-- $4 min_duration_ms
-- $5 run_keys
-- $6 org_id
-- $7 case_key
-- $8 first_key
-- $9 before_run
-- $10 before_case
-- $11 suite
-- $12 owner
-- $13 variants
-- $14 words
-- $15 case_id
-- $16 page

WITH fact AS (
    SELECT r.*, ($1::bool OR r.status = ANY ($2::text[]::"char"[])) AND ($3::bool IS NULL OR r.flaky = $3::bool)
    AND ($4::int IS NULL OR r.duration_ms >= $4::int) AS matches, NULL::text AS summary, NULL::bigint AS fingerprint, NULL::text AS file, false AS is_edge
    FROM unnest($5::uuid[]) AS run (run_key) CROSS JOIN LATERAL (
        SELECT r.run_key, r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms FROM results r
        WHERE r.org_id = $6 AND r.run_key = run.run_key AND r.case_key = $7::bigint
          AND r.run_key BETWEEN $8 AND $9 AND (r.run_key, r.case_key) < ($9, $10)
        LIMIT 1
    ) r
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
        WHERE fact.matches AND c.org_id = $6 AND c.case_key = fact.case_key AND ($11::text IS NULL OR c.suite = $11::text) AND ($12::text IS NULL OR $12 = ANY (c.owners))
        AND ($13::text[] IS NULL OR c.variant @> ALL ($13::text[]::jsonb[]))
        AND ($14::text[] IS NULL OR NOT EXISTS (
            SELECT 1 FROM unnest($14::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($7::bigint IS NULL OR c.case_key = $7::bigint)
        AND ($15::text IS NULL OR c.case_id = $15::text) LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file FROM result_details d
        WHERE fact.summary IS NULL AND (fact.status <> 'p' OR fact.flaky)
          AND d.org_id = $6 AND d.run_key = fact.run_key AND d.case_key = fact.case_key
          AND d.run_key BETWEEN $8 AND $9 AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky) LIMIT 1
    ) failure ON true
    WHERE c.name IS NOT NULL OR fact.is_edge
    LIMIT $16::int + 1
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
