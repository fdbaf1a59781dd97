-- $1 row_budget
-- $2 org_id
-- $3 fingerprint
-- $4 first_key
-- $5 before_run
-- $6 before_case
-- $7 trusted
-- $8 any_status
-- $9 statuses
-- $10 flaky
-- $11 min_duration_ms
-- $12 project_id
-- $13 environment
-- $14 branch
-- $15 commit_sha
-- $16 pull_request
-- $17 pipeline
-- $18 author
-- $19 labels
-- $20 suite
-- $21 owner
-- $22 variants
-- $23 words
-- $24 case_key
-- $25 case_id
-- $26 page

-- The last minute within the budget ends with a row that isn't a result, at the start of the part of the minute that was read.
WITH fact AS (
    SELECT candidate.run_key, candidate.case_key, found.status, found.flaky, found.attempts, found.duration_ms, found.started_offset_ms,
    coalesce(run.matches, false) AS matches, coalesce(candidate.summary, '') AS summary, candidate.fingerprint, candidate.file,
           candidate.is_end OR row_number() OVER () = $1::int AS is_edge
    FROM (
        SELECT failure.*
        FROM (
            SELECT minute, first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key, row_number() OVER () = 150 AS is_last FROM (
                SELECT DISTINCT g.minute FROM failure_group_minutes g
                WHERE g.org_id = $2 AND g.fingerprint = $3
                  AND g.minute BETWEEN completion_minute($4) AND completion_minute($5)
                  AND first_run_key_of_minute(g.minute) < $5
                  AND ($4, (-9223372036854775808)::bigint) < ($5, $6) -- the range isn't read completely
                ORDER BY g.minute DESC LIMIT 150
            ) minute
            OFFSET 0
        ) minute CROSS JOIN LATERAL (
            (SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file, false AS is_end
             FROM unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
                 SELECT d.run_key, d.case_key, d.summary, d.fingerprint, d.file FROM result_details d
                 WHERE d.org_id = $2 AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
                   AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $3
                   AND (d.run_key, d.case_key) < ($5, $6) AND d.run_key BETWEEN $4 AND $5
                   AND ($7::bool IS NOT TRUE OR -- A hash of all untrusted runs, which each partition builds for itself, would cost 5 ms per partition and project: strangers can
                   -- store 14,000 of them in each public project.
                   (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = d.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL)
                 ORDER BY d.run_key DESC, d.case_key DESC LIMIT 150
             ) d
             ORDER BY d.run_key DESC, d.case_key DESC LIMIT 150)
            UNION ALL
            SELECT greatest(minute.first_key, $4), (-9223372036854775808)::bigint, NULL, NULL, NULL, true WHERE minute.is_last
        ) failure
        LIMIT 150
    ) candidate
    LEFT JOIN LATERAL (
        SELECT r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms, ($8::bool OR r.status = ANY ($9::text[]::"char"[])) AND ($10::bool IS NULL OR r.flaky = $10::bool)
        AND ($11::int IS NULL OR r.duration_ms >= $11::int) AS matches FROM results r
        WHERE r.org_id = $2 AND r.run_key = candidate.run_key AND r.case_key = candidate.case_key
          AND r.run_key BETWEEN $4 AND $5 LIMIT 1
    ) found ON true
    LEFT JOIN LATERAL (
        SELECT true AS matches FROM runs r
        WHERE found.matches AND r.org_id = $2 AND r.run_key = candidate.run_key AND ($7::bool IS NULL OR (r.trusted IS NOT FALSE) = $7::bool)
        AND ($12::text IS NULL OR r.project_id = $12) AND ($13::text IS NULL OR r.environment = $13)
        AND ($14::text IS NULL OR r.branch = $14)
        AND ($15::text IS NULL OR starts_with(r.commit_sha, $15))
        AND ($16::text IS NULL OR r.pull_request = $16)
        AND ($17::text IS NULL OR r.pipeline = $17) AND ($18::text IS NULL OR r.author = $18)
        AND ($19::text[] IS NULL OR r.labels @> ALL ((SELECT $19::text[]::jsonb[])::jsonb[])) LIMIT 1
    ) run ON true
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
        WHERE fact.matches AND c.org_id = $2 AND c.case_key = fact.case_key AND ($20::text IS NULL OR c.suite = $20::text) AND ($21::text IS NULL OR $21 = ANY (c.owners))
        AND ($22::text[] IS NULL OR c.variant @> ALL ($22::text[]::jsonb[]))
        AND ($23::text[] IS NULL OR NOT EXISTS (
            SELECT 1 FROM unnest($23::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0)) AND ($24::bigint IS NULL OR c.case_key = $24::bigint)
        AND ($25::text IS NULL OR c.case_id = $25::text) LIMIT 1
    ) c ON true
    LEFT JOIN LATERAL (
        SELECT d.summary, d.fingerprint, d.file FROM result_details d
        WHERE fact.summary IS NULL AND (fact.status <> 'p' OR fact.flaky)
          AND d.org_id = $2 AND d.run_key = fact.run_key AND d.case_key = fact.case_key
          AND d.run_key BETWEEN $4 AND $5 AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky) LIMIT 1
    ) failure ON true
    WHERE c.name IS NOT NULL OR fact.is_edge
    LIMIT $26::int + 1
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
    FROM runs r WHERE r.org_id = $2 AND r.run_key = ANY (listed.run_keys)
) run CROSS JOIN (
    SELECT array_agg(run_key), array_agg(case_key) FROM page WHERE is_edge
) edge;
