-- $1 org_id
-- $2 author
-- $3 first_key
-- $4 before_run
-- $5 trusted
-- $6 flaky
-- $7 statuses
-- $8 run_budget
-- $9 project_id
-- $10 environment
-- $11 branch
-- $12 commit_sha
-- $13 pull_request
-- $14 pipeline
-- $15 labels
-- $16 lists_runs
-- $17 page

WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = $1 AND author = $2 AND run_key BETWEEN $3 AND $4 AND ($5::bool IS NOT TRUE OR trusted IS NOT FALSE)
    ORDER BY run_key DESC LIMIT 1000
)
SELECT r.run_key, r.project_id, r.results, r.matches, r.is_edge, listed.*
FROM (
    SELECT r.*, CASE WHEN $6::bool IS NULL THEN (CASE WHEN 'p' = ANY ($7::text[]) THEN r.passed ELSE 0 END
     + CASE WHEN 'f' = ANY ($7::text[]) THEN r.failed ELSE 0 END
     + CASE WHEN 'e' = ANY ($7::text[]) THEN r.error ELSE 0 END
     + CASE WHEN 's' = ANY ($7::text[]) THEN r.skipped ELSE 0 END
     + CASE WHEN 'c' = ANY ($7::text[]) THEN r.canceled ELSE 0 END)
         WHEN $6::bool THEN CASE WHEN 'p' = ANY ($7::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($7::text[]) THEN r.passed ELSE 0 END
          + CASE WHEN 'f' = ANY ($7::text[]) THEN r.failed ELSE 0 END
          + CASE WHEN 'e' = ANY ($7::text[]) THEN r.error ELSE 0 END
          + CASE WHEN 's' = ANY ($7::text[]) THEN r.skipped ELSE 0 END
          + CASE WHEN 'c' = ANY ($7::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($7::text[]) THEN r.flaky ELSE 0 END END AS results, row_number() OVER () = $8::int AS is_edge,
           ($5::bool IS NULL OR (r.trusted IS NOT FALSE) = $5::bool)
           AND ($9::text IS NULL OR r.project_id = $9) AND ($10::text IS NULL OR r.environment = $10)
           AND ($11::text IS NULL OR r.branch = $11)
           AND ($12::text IS NULL OR starts_with(r.commit_sha, $12))
           AND ($13::text IS NULL OR r.pull_request = $13)
           AND ($14::text IS NULL OR r.pipeline = $14) AND ($2::text IS NULL OR r.author = $2)
           AND ($15::text[] IS NULL OR r.labels @> ALL ((SELECT $15::text[]::jsonb[])::jsonb[]))
           AND CASE WHEN $16::bool THEN r.status = ANY ($7::text[]::"char"[]) AND ($6::bool IS NULL OR (r.flaky > 0) = $6::bool) ELSE CASE WHEN $6::bool IS NULL THEN (CASE WHEN 'p' = ANY ($7::text[]) THEN r.passed ELSE 0 END
            + CASE WHEN 'f' = ANY ($7::text[]) THEN r.failed ELSE 0 END
            + CASE WHEN 'e' = ANY ($7::text[]) THEN r.error ELSE 0 END
            + CASE WHEN 's' = ANY ($7::text[]) THEN r.skipped ELSE 0 END
            + CASE WHEN 'c' = ANY ($7::text[]) THEN r.canceled ELSE 0 END)
                WHEN $6::bool THEN CASE WHEN 'p' = ANY ($7::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($7::text[]) THEN r.passed ELSE 0 END
                 + CASE WHEN 'f' = ANY ($7::text[]) THEN r.failed ELSE 0 END
                 + CASE WHEN 'e' = ANY ($7::text[]) THEN r.error ELSE 0 END
                 + CASE WHEN 's' = ANY ($7::text[]) THEN r.skipped ELSE 0 END
                 + CASE WHEN 'c' = ANY ($7::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($7::text[]) THEN r.flaky ELSE 0 END END > 0 AND NOT r.results_expired END AS matches
    FROM (SELECT * FROM candidate LIMIT $8::int) r
) r
LEFT JOIN LATERAL (
    SELECT
        r.run_key, r.run_id, r.project_id, r.environment, r.branch, r.base_branch, r.commit_sha, r.pull_request, r.ci_url,
        r.pipeline, r.title, r.author, r.workflow, r.job_url, r.repository_url, r.labels, status_name(r.status) AS status, r.failures_missing, r.complete,
        r.passed, r.failed, r.error, r.skipped, r.canceled, r.flaky,
        r.expected_results, r.expected_shards, r.revision,
        (date_part('epoch', r.started_at) * 1000)::bigint AS started_ms, (date_part('epoch', r.completed_at) * 1000)::bigint AS completed_ms, (date_part('epoch', r.last_completed_at) * 1000)::bigint AS last_completed_ms,
        r.duration_ms, r.results_expired, r.pinned, (r.trusted IS NOT FALSE) AS trusted
    WHERE $16::bool AND r.matches
) listed ON true
WHERE r.matches OR r.is_edge LIMIT $17::int;
