-- name: find_expired  (of all organizations: untrusted runs that were stored before $1)
SELECT org_id, run_id FROM runs WHERE NOT trusted AND created_at < $1 ORDER BY created_at, org_id, run_id LIMIT $2

-- name: lock  (no row if the run was promoted or deleted, or if another transaction changes it)
SELECT 1 FROM runs WHERE org_id = $1 AND run_id = $2 AND NOT trusted FOR UPDATE SKIP LOCKED

-- name: delete_cases
-- At most $3 hidden cases. A case expires later than all untrusted runs that contain it. If such a run still exists, because a
-- transaction locked it, all cases stay, because the run can be promoted.
WITH deleted AS (
    DELETE FROM cases
    WHERE org_id = $1 AND NOT trusted
          AND case_key = ANY (ARRAY (
              SELECT case_key FROM cases
              WHERE org_id = $1 AND NOT trusted AND expires_on < ($2::timestamptz AT TIME ZONE 'UTC')::date
              ORDER BY case_key LIMIT $3
          ))
          AND NOT EXISTS (SELECT FROM runs WHERE org_id = $1 AND NOT trusted AND created_at < $4)
    RETURNING 1
)
SELECT count(*) FROM deleted
