-- $1 run_keys
-- $2 run_ids
-- $3 project_ids
-- $4 revisions
-- $5 org_id

-- The newest one of each gate, and of each recorded policy, so that a gate that is applied often doesn't hide another one.
SELECT requested.run_key, d.*
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[])
    AS requested (run_key, run_id, project_id, revision)
CROSS JOIN LATERAL (
    SELECT decision_id, decision, gate, revision, (failures -> 'new')::int AS new, (failures -> 'known')::int AS known,
           (failures -> 'flaky')::int AS flaky, (failures -> 'quarantined')::int AS quarantined,
           CASE WHEN missing IS NULL THEN NULL WHEN missing -> 'missing_parts' = '[]' THEN 0 ELSE (
               SELECT count(*) FILTER (WHERE part -> 'allowed' = 'false')
               FROM jsonb_array_elements(missing -> 'missing_parts') part
           )::int END AS missing_parts,
           baseline_run_id IS NOT NULL AS has_baseline, recorded_policy AS policy, created_at
    FROM (
        SELECT DISTINCT ON (gate, recorded_policy) * FROM (
            SELECT *, CASE WHEN gate IS NULL THEN policy::text END AS recorded_policy FROM decisions
            WHERE org_id = $5 AND run_id = requested.run_id ORDER BY decision_id DESC LIMIT 1000
        ) examined
        WHERE revision = requested.revision AND project_id = requested.project_id
        ORDER BY gate, recorded_policy, decision_id DESC
    ) newest
) d
ORDER BY d.decision_id DESC;
