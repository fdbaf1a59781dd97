-- name: find_requested  (of all organizations, the oldest requests first)
SELECT org_id, project_id FROM projects WHERE deletion_requested_at IS NOT NULL
ORDER BY deletion_requested_at, org_id, project_id LIMIT $1

-- name: find_runs
SELECT run_id FROM runs WHERE org_id = $1 AND project_id = $2 ORDER BY run_key LIMIT $3

-- name: delete_cases
WITH deleted AS (
    DELETE FROM cases
    WHERE org_id = $1 AND case_key = ANY (ARRAY (
        SELECT case_key FROM cases WHERE org_id = $1 AND project_id = $2 ORDER BY suite_hash, case_key LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_quarantines
WITH deleted AS (
    DELETE FROM quarantines
    WHERE org_id = $1 AND quarantine_id = ANY (ARRAY (
        SELECT quarantine_id FROM quarantines WHERE org_id = $1 AND project_id = $2 ORDER BY quarantine_id LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: delete_project  (unless a process of version 0.9.0, which doesn't lock projects, has stored a run meanwhile)
DELETE FROM projects
WHERE org_id = $1 AND project_id = $2 AND deletion_requested_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM runs WHERE org_id = $1 AND project_id = $2)
RETURNING project_id

-- name: count_deletion  (the processes that store runs no longer know the deleted cases)
UPDATE organizations SET deleted_projects = deleted_projects + 1 WHERE org_id = $1
