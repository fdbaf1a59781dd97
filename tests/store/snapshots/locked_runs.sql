-- $1 org_ids
-- $2 run_ids

SELECT run.*
FROM unnest($1::int[], $2::text[]) AS requested (org_id, run_id)
JOIN runs run ON run.org_id = requested.org_id AND run.run_id = requested.run_id
ORDER BY run.org_id, run.run_id
FOR UPDATE OF run;
