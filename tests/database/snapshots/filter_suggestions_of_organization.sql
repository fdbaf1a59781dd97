-- $1 org_id
-- $2 suggestions

WITH newest AS MATERIALIZED (
    SELECT row_number() OVER () AS run_no, author, pull_request, title FROM (
        SELECT author, pull_request, title FROM runs r WHERE org_id = $1 AND (r.trusted IS NOT FALSE) ORDER BY run_key DESC LIMIT 2000
    ) r
)
(
    SELECT author, NULL::text AS pull_request, NULL::text AS title FROM newest WHERE author IS NOT NULL
    GROUP BY author ORDER BY min(run_no) LIMIT $2::int
)
UNION ALL
(
    SELECT NULL, pull_request, (array_agg(title ORDER BY run_no) FILTER (WHERE title IS NOT NULL))[1]
    FROM newest WHERE pull_request IS NOT NULL
    GROUP BY pull_request ORDER BY min(run_no) LIMIT $2::int
);
