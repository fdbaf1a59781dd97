-- $1 org_id
-- $2 commit_sha
-- $3 trusted
-- $4 max_commits

WITH RECURSIVE commit AS (
    (
        SELECT commit_sha FROM runs
        WHERE org_id = $1 AND commit_sha ~>=~ $2 AND commit_sha ~<~ ($2 || chr(1114111)) AND ($3::bool IS NOT TRUE OR trusted IS NOT FALSE)
        ORDER BY commit_sha USING ~<~ LIMIT 1
    )
    UNION ALL
    SELECT later.commit_sha FROM commit CROSS JOIN LATERAL (
        SELECT commit_sha FROM runs
        WHERE org_id = $1 AND commit_sha ~>~ commit.commit_sha AND commit_sha ~<~ ($2 || chr(1114111)) AND ($3::bool IS NOT TRUE OR trusted IS NOT FALSE)
        ORDER BY commit_sha USING ~<~ LIMIT 1
    ) later
)
SELECT commit_sha FROM commit LIMIT $4::int;
