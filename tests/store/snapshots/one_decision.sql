-- $1 org_id
-- $2 decision_id
-- $3 project_id

SELECT row_to_json(item)::text
FROM (
    SELECT d.decision_id AS id, (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id, d.run_id, d.revision, d.gate, d.gate_version, d.policy, d.baseline_run_id, d.decision, d.rules,
    d.failures, d.missing -> 'missing_parts' AS missing_parts, d.missing -> 'missing_cases' AS missing_cases,
    d.missing -> 'missing_cases_sample' AS missing_cases_sample, d.truncated, CASE WHEN d.waiver IS NOT NULL THEN d.waiver || jsonb_build_object('created_by_name', (
        SELECT k.name FROM api_keys k WHERE k.org_id = $1 AND k.key_id = d.waiver ->> 'created_by'
    )) END AS waiver, rfc3339(d.created_at) AS created_at FROM decisions d
    WHERE d.org_id = $1 AND d.decision_id = $2 AND ($3::text IS NULL OR d.project_id = $3)
) item;
