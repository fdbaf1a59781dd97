-- $1 run_id
-- $2 revision
-- $3 policy
-- $4 baseline_run_id
-- $5 decision
-- $6 rules
-- $7 failures
-- $8 missing

SELECT row_to_json(item)::text
FROM (
    SELECT d.decision_id AS id, d.run_id, d.revision, d.gate, d.gate_version, d.policy, d.baseline_run_id, d.decision, d.rules,
    d.failures, d.missing -> 'missing_parts' AS missing_parts, d.missing -> 'missing_cases' AS missing_cases,
    d.missing -> 'missing_cases_sample' AS missing_cases_sample, d.waiver, rfc3339(d.created_at) AS created_at
    FROM (
        SELECT NULL::text AS decision_id, $1::text AS run_id, $2::int AS revision, NULL::text AS gate,
               NULL::int AS gate_version, $3::jsonb AS policy, $4::text AS baseline_run_id,
               $5::text AS decision, $6::jsonb AS rules, $7::jsonb AS failures, $8::jsonb AS missing, NULL::jsonb AS waiver,
               now() AS created_at
    ) d
) item;
