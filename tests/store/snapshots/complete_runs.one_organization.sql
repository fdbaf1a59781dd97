-- $1 org_ids
-- $2 run_ids
-- $3 project_ids
-- $4 org_id

SELECT requested.org_id, requested.run_id, requested.project_id
FROM unnest($1::int[], $2::text[], $3::text[]) AS requested (org_id, run_id, project_id)
CROSS JOIN LATERAL (
    SELECT 1 FROM runs r
    WHERE r.org_id = $4::int AND r.run_id = requested.run_id AND r.complete
      AND (requested.project_id IS NULL OR r.project_id = requested.project_id) LIMIT 1
) run;
