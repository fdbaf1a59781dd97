-- $1 org_id
-- $2 decision_id
-- $3 project_id

SELECT row_to_json(item)::text
FROM (
    SELECT d.decision_id AS id, (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id, d.run_id, d.revision, d.gate, d.gate_version, d.policy, d.baseline_run_id, d.decision, d.rules,
    d.failures, d.missing -> 'missing_parts' AS missing_parts, d.missing -> 'missing_cases' AS missing_cases,
    d.missing -> 'missing_cases_sample' AS missing_cases_sample, d.truncated, CASE WHEN d.waiver IS NOT NULL THEN d.waiver || jsonb_build_object('created_by_name', (
        SELECT CASE left(actor.id, 4)
            WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
            WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
            WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
        END FROM (SELECT $1::int AS org_id, d.waiver ->> 'created_by' AS id) actor
    )) END AS waiver, d.created_by,
    (SELECT CASE left(actor.id, 4)
        WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
        WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
        WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
    END FROM (SELECT $1::int AS org_id, d.created_by AS id) actor) AS created_by_name, rfc3339(d.created_at) AS created_at FROM decisions d
    WHERE d.org_id = $1 AND d.decision_id = $2 AND ($3::text IS NULL OR d.project_id = $3)
) item;
