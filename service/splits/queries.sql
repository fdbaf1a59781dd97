-- The splits of a run, and the assignments of uploads.

-- name: insert_assignment(org_id, project_id, receipt_id, key, pipeline, run_id, document)
INSERT INTO split_assignments (org_id, project_id, receipt_id, key, pipeline, run_id, document)
VALUES (:org_id, :project_id, :receipt_id, :key, :pipeline, :run_id, :document) ON CONFLICT (org_id, receipt_id, key) DO NOTHING

-- name: find_of_run(org_id, project_id, run_key, run_id, max_assignments)
--     (plans, and assignments of accepted uploads, with a pipeline or ID that the run or one of its own assignments states)
-- An assignment of an untrusted upload counts only for its own run: after the promotion, only if this named its receipt. So
-- does one without a pipeline and a run.
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
SELECT '' AS receipt_id, key, pipeline, run_id, document FROM splits
WHERE org_id = :org_id AND project_id = :project_id
      AND (pipeline <> '' AND pipeline = ANY (ARRAY(SELECT pipeline FROM origin))
           OR run_id <> '' AND run_id = ANY (ARRAY(SELECT run_id FROM origin))
           OR pipeline = '' AND run_id = '' AND key = ANY (ARRAY(SELECT key FROM own WHERE pipeline = '' AND run_id = '')))
UNION ALL (
    SELECT a.receipt_id, a.key, a.pipeline, a.run_id, a.document
    FROM split_assignments a JOIN receipts r ON r.org_id = :org_id AND r.receipt_id = a.receipt_id
    WHERE a.org_id = :org_id AND a.project_id = :project_id AND r.status IN ('stored', 'partial')
          AND (a.receipt_id = ANY (ARRAY(SELECT receipt_id FROM own))
               OR a.pipeline <> '' AND a.pipeline = ANY (ARRAY(SELECT pipeline FROM origin)) AND NOT starts_with(r.run_id, 'untrusted:')
               OR a.run_id <> '' AND a.run_id = ANY (ARRAY(SELECT run_id FROM origin)) AND NOT starts_with(r.run_id, 'untrusted:'))
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
