-- $1 first
-- $2 last
-- $3 org_id
-- $4 project_id

WITH chosen AS MATERIALIZED (
    SELECT coalesce(min(start) FILTER (WHERE start <= $1::date), $1::date) AS first,
           greatest($2::date, max((start + interval '1 month')::date - 1)) AS last
    FROM cost_days
    WHERE org_id = $3 AND ($4::text IS NULL OR project_id = $4) AND is_month
          AND start BETWEEN date_trunc('month', $1::date)::date AND $2::date
), newest AS MATERIALIZED (
    SELECT r.run_key, r.is_open, row_number() OVER newest AS position, sum(r.results) OVER newest AS reached,
           sum(r.results) FILTER (WHERE r.is_open) OVER newest AS open_reached
    FROM projects p LEFT JOIN LATERAL (SELECT CASE WHEN is_month THEN (start + interval '1 month')::date ELSE start + 1 END AS day FROM cost_days
    WHERE org_id = $3 AND project_id = p.project_id ORDER BY start DESC LIMIT 1) following ON true CROSS JOIN LATERAL (
        SELECT r.run_key, r.passed + r.failed + r.error + r.skipped + r.canceled AS results,
               r.run_key >= first_run_key(coalesce(following.day, '1970-01-01')::timestamp AT TIME ZONE 'UTC') AS is_open
        FROM runs r
        WHERE r.org_id = $3 AND r.project_id = p.project_id AND (r.trusted IS NOT FALSE) AND NOT r.results_expired
              AND r.run_key >= first_run_key((SELECT first FROM chosen)::timestamp AT TIME ZONE 'UTC')
              AND r.run_key < first_run_key(((SELECT last FROM chosen) + 1)::timestamp AT TIME ZONE 'UTC')
        ORDER BY r.run_key DESC LIMIT 2000 + 1
    ) r
    WHERE p.org_id = $3 AND ($4::text IS NULL OR p.project_id = $4)
    WINDOW newest AS (ORDER BY r.run_key DESC)
), open_run AS MATERIALIZED (
    SELECT run_key, open_reached <= 20000 AND position <= 2000 AS is_read FROM newest WHERE is_open
)
SELECT chosen.first, chosen.last, (
    SELECT coalesce(sum(runs), 0)::bigint FROM cost_days
    WHERE org_id = $3 AND ($4::text IS NULL OR project_id = $4) AND start BETWEEN chosen.first AND chosen.last
) + (SELECT count(*) FROM open_run WHERE is_read) AS runs, EXISTS (SELECT 1 FROM open_run WHERE NOT is_read) AS truncated,
ARRAY (SELECT run_key FROM open_run WHERE is_read) AS open_runs,
ARRAY (SELECT run_key FROM newest WHERE position <= 200 AND reached <= 20000) AS newest_runs
FROM chosen;
