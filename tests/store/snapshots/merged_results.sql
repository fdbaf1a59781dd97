-- $1 org_id
-- $2 run_key
-- $3 baseline_key
-- $4 pairs
-- $5 ranks
-- $6 after_rank
-- $7 after_case
-- $8 page

WITH merged AS MATERIALIZED (
    SELECT case_key, coalesce(here.status, '-') AS status, coalesce(there.status, '-') AS baseline_status
    FROM (SELECT case_key, status FROM results WHERE org_id = $1 AND run_key = $2) here
    FULL JOIN (
        SELECT case_key, status FROM results WHERE org_id = $1 AND run_key = $3::uuid
    ) there USING (case_key)
), counted AS (
    SELECT coalesce(array_agg(status::text || baseline_status::text), '{}') AS pairs,
           coalesce(array_agg(count), '{}') AS counts
    FROM (SELECT status, baseline_status, count(*) FROM merged GROUP BY status, baseline_status) grouped
), page AS (
    SELECT coalesce(array_agg(case_key ORDER BY rank, case_key), '{}') AS case_keys,
           coalesce(array_agg(pair ORDER BY rank, case_key), '{}') AS page_pairs
    FROM (
        SELECT selected.rank, merged.case_key, status::text || baseline_status::text AS pair
        FROM merged JOIN (
            SELECT left(pair, 1)::"char" AS status, right(pair, 1)::"char" AS baseline_status, rank
            FROM unnest($4::text[], $5::int[]) AS given (pair, rank)
        ) selected USING (status, baseline_status)
        WHERE (selected.rank, merged.case_key) > ($6::int, $7::bigint)
        ORDER BY selected.rank, merged.case_key LIMIT $8
    ) ordered
)
SELECT counted.pairs, counted.counts, page.case_keys, page.page_pairs FROM counted, page;
