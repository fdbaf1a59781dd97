-- $1 run_ids
-- $2 project_ids
-- $3 org_id

SELECT coalesce(array_agg(requested.index - 1), '{}')
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS requested (run_id, project_id, index)
CROSS JOIN LATERAL (
    SELECT 1 FROM runs r
    WHERE r.org_id = $3 AND r.run_id = requested.run_id AND r.complete
      AND (requested.project_id IS NULL OR r.project_id = requested.project_id) LIMIT 1
) run;
