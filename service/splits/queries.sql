-- The splits of a run, and the assignments of uploads.

-- name: insert_assignment(org_id, project_id, receipt_id, key, pipeline, run_id, document)
INSERT INTO split_assignments (org_id, project_id, receipt_id, key, pipeline, run_id, document)
VALUES (:org_id, :project_id, :receipt_id, :key, :pipeline, :run_id, :document) ON CONFLICT (org_id, receipt_id, key) DO NOTHING

-- name: find_of_run(org_id, project_id, run_key, run_id, max_assignments)
--     (plans, and assignments of accepted uploads, with a pipeline or ID that the run or one of its own assignments states)
-- Each table is read by one index per pipeline or run, also while the statistics of the planner are old. An assignment of an
-- untrusted upload counts only for its own run: after the promotion, only if this named its receipt. So does one without a
-- pipeline and a run.
WITH run AS MATERIALIZED (
    SELECT coalesce(pipeline, '') AS pipeline, {is_trusted} AS is_trusted FROM runs r WHERE org_id = :org_id AND run_key = :run_key
), own AS MATERIALIZED (
    SELECT a.receipt_id, a.key, a.pipeline, a.run_id
    FROM run CROSS JOIN receipts r JOIN split_assignments a ON a.org_id = :org_id AND a.receipt_id = r.receipt_id
    WHERE r.org_id = :org_id AND r.run_id = :run_id AND r.status IN ('stored', 'partial') AND a.project_id = :project_id
          AND (NOT run.is_trusted OR NOT starts_with(r.run_id, 'untrusted:') OR r.upload ? 'is_promoted')
), origin AS MATERIALIZED (
    SELECT pipeline, :run_id::text AS run_id FROM run UNION SELECT pipeline, run_id FROM own
)
SELECT '' AS receipt_id, s.key, s.pipeline, s.run_id, s.document
FROM (SELECT DISTINCT pipeline FROM origin) o CROSS JOIN LATERAL (
    SELECT * FROM splits WHERE org_id = :org_id AND pipeline <> '' AND pipeline = o.pipeline OFFSET 0
) s WHERE s.project_id = :project_id
UNION ALL
SELECT '', s.key, s.pipeline, s.run_id, s.document
FROM (SELECT DISTINCT run_id FROM origin) o CROSS JOIN LATERAL (
    SELECT * FROM splits WHERE org_id = :org_id AND run_id <> '' AND run_id = o.run_id OFFSET 0
) s WHERE s.project_id = :project_id
UNION ALL
SELECT '', s.key, s.pipeline, s.run_id, s.document
FROM (SELECT DISTINCT key FROM own WHERE pipeline = '' AND run_id = '') o
JOIN splits s ON s.org_id = :org_id AND s.project_id = :project_id AND s.key = o.key AND s.pipeline = '' AND s.run_id = ''
UNION ALL (
    SELECT a.receipt_id, a.key, a.pipeline, a.run_id, a.document
    FROM (
        SELECT receipt_id, key, bool_or(is_own) AS is_own
        FROM (
            SELECT receipt_id, key, true AS is_own FROM own
            UNION ALL
            SELECT a.receipt_id, a.key, false FROM (SELECT DISTINCT pipeline FROM origin) o CROSS JOIN LATERAL (
                SELECT * FROM split_assignments WHERE org_id = :org_id AND pipeline <> '' AND pipeline = o.pipeline OFFSET 0
            ) a
            UNION ALL
            SELECT a.receipt_id, a.key, false FROM (SELECT DISTINCT run_id FROM origin) o CROSS JOIN LATERAL (
                SELECT * FROM split_assignments WHERE org_id = :org_id AND run_id <> '' AND run_id = o.run_id OFFSET 0
            ) a
        ) stated
        GROUP BY receipt_id, key
    ) found
    JOIN split_assignments a ON a.org_id = :org_id AND a.receipt_id = found.receipt_id AND a.key = found.key
    JOIN receipts r ON r.org_id = :org_id AND r.receipt_id = a.receipt_id
    WHERE a.project_id = :project_id AND r.status IN ('stored', 'partial')
          AND (found.is_own OR NOT starts_with(r.run_id, 'untrusted:'))
    LIMIT :max_assignments::int
)

-- name: find_runs(org_id, project_id, run_key)  (the run, and the trusted runs of its pipeline)
SELECT :run_key::uuid AS run_key
UNION
SELECT r.run_key FROM runs this JOIN runs r ON r.org_id = :org_id AND r.pipeline = this.pipeline
WHERE this.org_id = :org_id AND this.run_key = :run_key AND r.project_id = :project_id AND {is_trusted}

-- name: find_executed(org_id, run_keys, first_key, last_key, unit, variant, names)
--     (the names of items with any result in the runs, with the sums of their durations)
SELECT item.name, sum(r.duration_ms) FILTER (WHERE r.duration_ms >= 0)::bigint AS total_ms
FROM results r JOIN cases c ON c.org_id = :org_id AND c.case_key = r.case_key CROSS JOIN LATERAL (
    SELECT CASE WHEN :unit::text = 'file' THEN c.file ELSE concat_ws(' > ', nullif(c.suite, ''), c.name) END AS name
) item
WHERE r.org_id = :org_id AND r.run_key BETWEEN :first_key AND :last_key AND r.run_key = ANY (:run_keys::uuid[])
      AND c.variant @> :variant::jsonb AND item.name = ANY (:names::text[])
GROUP BY item.name
