-- $1 org_id
-- $2 run_id
-- $3 before
-- $4 project_id
-- $5 gate
-- $6 decision
-- $7 page

WITH examined AS MATERIALIZED (
    SELECT *, row_number() OVER () AS examined_no FROM (
        SELECT * FROM decisions
        WHERE org_id = $1 AND run_id = $2 AND decision_id < $3::text
        ORDER BY decision_id DESC LIMIT 1000
    ) newest
), matching AS MATERIALIZED (
    SELECT * FROM examined d
    WHERE ($4::text IS NULL OR d.project_id = $4) AND ($2::text IS NULL OR d.run_id = $2)
      AND ($5::text IS NULL OR d.gate = $5) AND ($6::text IS NULL OR d.decision = $6)
    ORDER BY decision_id DESC LIMIT $7::int + 1
)
SELECT data, coalesce(next, (SELECT decision_id FROM examined WHERE examined_no = 1000)) AS next
FROM (
    SELECT '[' || coalesce(string_agg(item, ',' ORDER BY row_no) FILTER (WHERE fits), '') || ']' AS data,
           CASE WHEN count(*) > count(*) FILTER (WHERE fits) THEN min(id) FILTER (WHERE fits) END AS next
    FROM (
        SELECT item, id, row_no, row_no <= $7::int
               AND sum(octet_length(item)) OVER (ORDER BY row_no) - octet_length(item) < 4194304 AS fits
        FROM (
            SELECT row_to_json(listed)::text AS item, listed.id, row_number() OVER (ORDER BY listed.id DESC) AS row_no
            FROM (
                SELECT d.decision_id AS id, (SELECT slug FROM organizations WHERE org_id = $1 LIMIT 1) AS organization_id, d.run_id, d.revision, d.gate, d.gate_version, d.policy, d.baseline_run_id, d.decision, d.rules,
                d.failures, d.missing -> 'missing_parts' AS missing_parts, d.missing -> 'missing_cases' AS missing_cases,
                d.missing -> 'missing_cases_sample' AS missing_cases_sample, d.missing -> 'missing_items' AS missing_items,
                d.missing -> 'missing_items_sample' AS missing_items_sample, d.truncated, CASE WHEN d.waiver IS NOT NULL THEN d.waiver || jsonb_build_object('created_by_name', (
                    SELECT CASE left(actor.id, 4)
                        WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
                        WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
                        WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                                          WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
                        WHEN 'poli' THEN 'automatic quarantine'
                    END FROM (SELECT $1::int AS org_id, d.waiver ->> 'created_by' AS id) actor
                )) END AS waiver, d.created_by,
                (SELECT CASE left(actor.id, 4)
                    WHEN 'key_' THEN (SELECT k.name FROM api_keys k WHERE k.org_id = actor.org_id AND k.key_id = actor.id)
                    WHEN 'pub_' THEN (SELECT p.name FROM publishers p WHERE p.org_id = actor.org_id AND p.publisher_id = actor.id)
                    WHEN 'per_' THEN (SELECT coalesce(nullif(p.name, ''), p.email) FROM people p
                                      WHERE p.org_id = actor.org_id AND p.person_id = actor.id)
                    WHEN 'poli' THEN 'automatic quarantine'
                END FROM (SELECT $1::int AS org_id, d.created_by AS id) actor) AS created_by_name,
                rfc3339(d.created_at) AS created_at FROM matching d
            ) listed
        ) numbered
    ) sized
) page;
