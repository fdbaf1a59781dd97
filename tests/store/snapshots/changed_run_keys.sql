-- $1 org_id
-- $2 changed_after
-- $3 oldest_run
-- $4 newest_run

SELECT changed_run.run_key FROM (
    SELECT DISTINCT change.run_id FROM (
        SELECT e.run_id, e.project_id, e.type FROM events e WHERE e.org_id = $1::int AND e.number > $2::bigint
        UNION ALL
        SELECT e.run_id, e.project_id, e.type FROM events e WHERE e.org_id = $1::int AND e.number IS NULL
    ) change
    WHERE change.run_id IS NOT NULL AND change.type LIKE 'run.%'
) changed CROSS JOIN LATERAL (
    SELECT run_key FROM runs WHERE runs.org_id = $1::int AND runs.run_id = changed.run_id LIMIT 1
) changed_run
WHERE changed_run.run_key BETWEEN $3::uuid AND $4::uuid
ORDER BY changed_run.run_key;
