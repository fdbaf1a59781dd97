-- $1 org_id
-- $2 first_key
-- $3 before_run
-- $4 trusted
-- $5 flaky
-- $6 statuses
-- $7 run_budget
-- $8 project_id
-- $9 environment
-- $10 branch
-- $11 commit_sha
-- $12 pull_request
-- $13 pipeline
-- $14 author
-- $15 labels
-- $16 lists_runs
-- $17 page

WITH candidate AS (
    SELECT * FROM runs
    WHERE org_id = $1 AND run_key BETWEEN $2 AND $3 AND ($4::bool IS NOT TRUE OR trusted IS NOT FALSE)
    ORDER BY run_key DESC LIMIT 1000
)
SELECT r.run_key, r.project_id, r.results, r.matches, r.is_edge, listed.*
FROM (
    SELECT r.*, CASE WHEN $5::bool IS NULL THEN (CASE WHEN 'p' = ANY ($6::text[]) THEN r.passed ELSE 0 END
     + CASE WHEN 'f' = ANY ($6::text[]) THEN r.failed ELSE 0 END
     + CASE WHEN 'e' = ANY ($6::text[]) THEN r.error ELSE 0 END
     + CASE WHEN 's' = ANY ($6::text[]) THEN r.skipped ELSE 0 END
     + CASE WHEN 'c' = ANY ($6::text[]) THEN r.canceled ELSE 0 END)
         WHEN $5::bool THEN CASE WHEN 'p' = ANY ($6::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($6::text[]) THEN r.passed ELSE 0 END
          + CASE WHEN 'f' = ANY ($6::text[]) THEN r.failed ELSE 0 END
          + CASE WHEN 'e' = ANY ($6::text[]) THEN r.error ELSE 0 END
          + CASE WHEN 's' = ANY ($6::text[]) THEN r.skipped ELSE 0 END
          + CASE WHEN 'c' = ANY ($6::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($6::text[]) THEN r.flaky ELSE 0 END END AS results, row_number() OVER () = $7::int AS is_edge,
           ($4::bool IS NULL OR (r.trusted IS NOT FALSE) = $4::bool)
           AND ($8::text IS NULL OR r.project_id = $8) AND ($9::text IS NULL OR r.environment = $9)
           AND ($10::text IS NULL OR r.branch = $10)
           AND ($11::text IS NULL OR starts_with(r.commit_sha, $11))
           AND ($12::text IS NULL OR r.pull_request = $12)
           AND ($13::text IS NULL OR r.pipeline = $13) AND ($14::text IS NULL OR r.author = $14)
           AND ($15::text[] IS NULL OR r.labels @> ALL ((SELECT $15::text[]::jsonb[])::jsonb[]))
           AND CASE WHEN $16::bool THEN r.status = ANY ($6::text[]::"char"[]) AND ($5::bool IS NULL OR (r.flaky > 0) = $5::bool) ELSE CASE WHEN $5::bool IS NULL THEN (CASE WHEN 'p' = ANY ($6::text[]) THEN r.passed ELSE 0 END
            + CASE WHEN 'f' = ANY ($6::text[]) THEN r.failed ELSE 0 END
            + CASE WHEN 'e' = ANY ($6::text[]) THEN r.error ELSE 0 END
            + CASE WHEN 's' = ANY ($6::text[]) THEN r.skipped ELSE 0 END
            + CASE WHEN 'c' = ANY ($6::text[]) THEN r.canceled ELSE 0 END)
                WHEN $5::bool THEN CASE WHEN 'p' = ANY ($6::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($6::text[]) THEN r.passed ELSE 0 END
                 + CASE WHEN 'f' = ANY ($6::text[]) THEN r.failed ELSE 0 END
                 + CASE WHEN 'e' = ANY ($6::text[]) THEN r.error ELSE 0 END
                 + CASE WHEN 's' = ANY ($6::text[]) THEN r.skipped ELSE 0 END
                 + CASE WHEN 'c' = ANY ($6::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($6::text[]) THEN r.flaky ELSE 0 END END > 0 AND NOT r.results_expired END AS matches
    FROM (SELECT * FROM candidate LIMIT $7::int) r
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
