-- $1 branch
-- $2 org_id
-- $3 project_id
-- $4 first_key
-- $5 before_run
-- $6 requires_result
-- $7 owner
-- $8 variants
-- $9 patterns
-- $10 is_ascii
-- $11 suite
-- $12 after_suite
-- $13 after_case
-- $14 candidates

-- A row with `is_edge` is the last one of the examined cases. It can be a case that doesn't match.
WITH recent AS MATERIALIZED (SELECT run_key FROM (
    (SELECT run_key FROM runs
     WHERE $1::text IS NULL AND org_id = $2 AND project_id = $3
           AND run_key BETWEEN $4 AND $5 AND (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = runs.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
     ORDER BY run_key DESC LIMIT 200)
    UNION ALL
    (SELECT run_key FROM runs
     WHERE org_id = $2 AND project_id = $3 AND branch = $1
           AND run_key BETWEEN $4 AND $5 AND (SELECT true FROM runs untrusted WHERE untrusted.org_id = $2 AND untrusted.run_key = runs.run_key AND NOT untrusted.trusted LIMIT 1) IS NULL
     ORDER BY run_key DESC LIMIT 200)
) filtered)
SELECT candidate.suite_hash, candidate.case_key, candidate.is_edge,
       candidate.matches AND (NOT $6::bool OR EXISTS (
           SELECT 1 FROM recent CROSS JOIN LATERAL (
               SELECT 1 FROM results r
               WHERE r.org_id = $2 AND r.run_key = recent.run_key AND r.run_key BETWEEN $4 AND $5
                     AND r.case_key = candidate.case_key LIMIT 1
           ) result
       )) AS matches
FROM (
    SELECT searched.*
    FROM (
        SELECT c.suite_hash, c.case_key, row_number() OVER () = 50000 AS is_edge, ($7::text IS NULL OR $7 = ANY (c.owners)) AND ($8::text[] IS NULL OR c.variant @> ALL ((SELECT $8::text[]::jsonb[])::jsonb[]))
        AND ($9::text[] IS NULL
             OR CASE WHEN $10::bool THEN lower((c.suite || E'\n' || c.name) COLLATE "C") ELSE lower(c.suite || E'\n' || c.name) END
                LIKE ALL ((SELECT array_agg(lower(pattern)) FROM unnest($9::text[]) pattern)::text[])) AS matches
        FROM (
            SELECT * FROM cases c WHERE -- The range of hashes is a CASE because row-level security prevents COALESCE from being an index condition.
            c.org_id = $2 AND c.project_id = $3 AND c.trusted
            AND c.suite_hash BETWEEN CASE WHEN $11::text IS NULL THEN -9223372036854775808 ELSE hashtextextended($11::text, 0) END
                                 AND CASE WHEN $11::text IS NULL THEN 9223372036854775807 ELSE hashtextextended($11::text, 0) END
            AND (c.suite_hash, c.case_key) > ($12::bigint, $13::bigint)
            AND ($11::text IS NULL OR c.suite = $11::text)
            ORDER BY c.suite_hash, c.case_key LIMIT 50000
        ) c
    ) searched
    WHERE matches OR is_edge LIMIT $14::int
) candidate
ORDER BY candidate.suite_hash, candidate.case_key;
