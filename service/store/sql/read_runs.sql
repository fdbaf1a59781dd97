-- The list of runs and one run, in pieces as in read_results.sql.

-- name: page_of_runs
WITH examined AS MATERIALIZED (
    SELECT run_key, hit, edge
    FROM (
        SELECT r.run_key, row_number() OVER () = {run_budget} AS edge,
               (:project_id::text IS NULL OR r.project_id = :project_id)
               AND (:environment::text IS NULL OR r.environment = :environment)
               AND (:branch::text IS NULL OR r.branch = :branch)
               AND r.status = ANY (:statuses::text[]::"char"[]) AS hit
        FROM (
            SELECT * FROM runs
            WHERE org_id = :org_id AND {driver} AND run_key BETWEEN :first_key AND :before_run
            ORDER BY run_key DESC LIMIT {run_budget}
        ) r
    ) examined
    WHERE hit OR edge LIMIT :page::int + 1
), numbered AS MATERIALIZED (
    SELECT run_key, hit, edge, row_number() OVER () AS nth, count(*) OVER () AS emitted,
           CASE WHEN count(*) FILTER (WHERE hit) OVER () > :page::int THEN :page::int ELSE count(*) OVER () END AS cut
    FROM examined
)
SELECT coalesce((SELECT json_agg(item) FROM (
           SELECT run.* FROM numbered key
           CROSS JOIN LATERAL (SELECT {run_fields} FROM runs r WHERE r.org_id = :org_id AND r.run_key = key.run_key LIMIT 1) run
           WHERE key.hit AND key.nth <= key.cut
           ORDER BY key.nth
       ) item), '[]')::text AS data, ending.run_key
FROM (SELECT) always
LEFT JOIN LATERAL (
    SELECT run_key FROM numbered WHERE nth = cut AND (emitted > :page::int OR edge)
) ending ON true

-- name: run_fields
r.run_id, r.project_id, r.environment, r.branch, r.commit_sha, r.ci_url, r.labels, status_name(r.status) AS status, r.complete,
json_build_object('passed', r.passed, 'failed', r.failed, 'error', r.error, 'skipped', r.skipped, 'canceled', r.canceled,
                  'flaky', r.flaky) AS counts,
r.expected_results, r.expected_shards, r.revision, rfc3339(r.started_at) AS started_at,
rfc3339(r.completed_at) AS completed_at, rfc3339(r.last_completed_at) AS last_completed_at, r.duration_ms,
r.results_expired

-- name: one_run
SELECT row_to_json(item)::text
FROM (SELECT {run_fields} FROM runs r
      WHERE r.org_id = :org_id AND r.run_id = :run_id AND (:project_id::text IS NULL OR r.project_id = :project_id)) item

-- name: complete_runs  (the places of those that are there with all their results, among those that someone waits for)
SELECT coalesce(array_agg(wanted.place - 1), '{}')
FROM unnest(:run_ids::text[], :project_ids::text[]) WITH ORDINALITY AS wanted (run_id, project_id, place)
CROSS JOIN LATERAL (
    SELECT 1 FROM runs r
    WHERE r.org_id = :org_id AND r.run_id = wanted.run_id AND r.complete
      AND (wanted.project_id IS NULL OR r.project_id = wanted.project_id) LIMIT 1
) run
