-- Splits: the plans of the items of parallel jobs, and the durations from which they follow.

-- name: lock(org_id, project_id, key, pipeline, run_id)  (until the transaction ends: one of several first requests plans)
SELECT pg_advisory_xact_lock(
    hashtextextended(concat_ws(E'\n', 'split', :org_id::int, :project_id::text, :key::text, :pipeline::text, :run_id::text), 0))

-- name: find(org_id, project_id, key, pipeline, run_id)  (the newest one; null: of any pipeline or run)
SELECT json_build_object('key', key, 'project_id', project_id, 'pipeline', nullif(pipeline, ''), 'run_id', nullif(run_id, ''),
                         'created_at', rfc3339(created_at))::text AS fields, document, digest
FROM splits
WHERE org_id = :org_id AND project_id = :project_id AND key = :key AND pipeline = coalesce(:pipeline::text, pipeline)
      AND run_id = coalesce(:run_id::text, run_id)
ORDER BY created_at DESC LIMIT 1

-- name: insert(org_id, project_id, key, pipeline, run_id, document, digest, created_by)
--     (unless the pipeline or run has the maximum number; each condition needs its own index)
INSERT INTO splits (org_id, project_id, key, pipeline, run_id, document, digest, created_by)
SELECT :org_id, :project_id::text, :key, :pipeline::text, :run_id::text, :document, :digest, :created_by
WHERE (SELECT count(*) FROM splits WHERE org_id = :org_id AND pipeline <> '' AND pipeline = :pipeline
                                         AND project_id = :project_id AND run_id = :run_id) < {splits.MAX_SPLITS}
  AND (SELECT count(*) FROM splits WHERE org_id = :org_id AND run_id <> '' AND run_id = :run_id
                                         AND project_id = :project_id AND pipeline = :pipeline) < {splits.MAX_SPLITS}

-- name: find_durations(org_id, project_id, unit, variant, names)
--     (the positions of items, and the 75th percentiles over the newest candidates of the default branch)
-- Each run has the sum of the results that an item names. Older runs than the first {splits.MAX_HISTORY_RESULTS} results aren't read.
WITH newest AS MATERIALIZED (
    SELECT run_key, sum(results) OVER (ORDER BY run_key DESC) - results AS newer_results
    FROM projects p CROSS JOIN LATERAL (
        SELECT r.run_key, r.passed + r.failed + r.error + r.skipped + r.canceled AS results FROM runs r
        WHERE r.org_id = :org_id AND r.project_id = :project_id AND r.branch = p.default_branch
              AND {is_trusted} AND {is_candidate}
        ORDER BY r.run_key DESC LIMIT {splits.HISTORY_RUNS}
    ) run
    WHERE p.org_id = :org_id AND p.project_id = :project_id
), durations AS MATERIALIZED (
    SELECT run.run_key, result.case_key, result.duration_ms FROM newest run CROSS JOIN LATERAL (
        SELECT r.case_key, r.duration_ms FROM results r
        WHERE r.org_id = :org_id AND r.run_key = run.run_key AND r.duration_ms >= 0 OFFSET 0
    ) result
    WHERE run.newer_results < {splits.MAX_HISTORY_RESULTS}
), items AS MATERIALIZED (
    SELECT c.case_key, item.position
    FROM (SELECT DISTINCT case_key FROM durations) executed
    JOIN cases c ON c.org_id = :org_id AND c.case_key = executed.case_key AND c.variant @> :variant::jsonb
    JOIN unnest(:names::text[]) WITH ORDINALITY item (name, position)
        ON item.name = CASE WHEN :unit::text = 'file' THEN c.file ELSE concat_ws(' > ', nullif(c.suite, ''), c.name) END
)
SELECT position, percentile_disc(0.75) WITHIN GROUP (ORDER BY total_ms)
FROM (
    SELECT position, run_key, sum(duration_ms) AS total_ms FROM durations JOIN items USING (case_key) GROUP BY position, run_key
) of_run
GROUP BY position

-- name: delete(before, limit, org_id, project_id)  (at most :limit splits and assignments; null: of all organizations)
WITH old_splits AS (
    DELETE FROM splits WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM splits WHERE created_at < :before AND {is_deleted} ORDER BY created_at LIMIT :limit::int
    )) RETURNING 1
), old_assignments AS (
    DELETE FROM split_assignments WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM split_assignments WHERE created_at < :before AND {is_deleted} ORDER BY created_at LIMIT :limit::int
    )) RETURNING 1
)
SELECT (SELECT count(*) FROM old_splits) + (SELECT count(*) FROM old_assignments)

-- name: is_deleted
(:org_id::int IS NULL OR org_id = :org_id AND project_id = :project_id::text)
