-- name: terminate_stuck_writers  (a consumer that was stopped inside a COPY holds its locks, and no timeout ends it)
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'results_worker' AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead' AND query ILIKE 'COPY %' AND query_start < now() - $1::interval

-- name: delete_receipts  (of all organizations, at most $3; an id begins with its time, and may have been used again)
-- What still has to be read stays, however long it waits.
WITH deleted AS (
    DELETE FROM receipts
    WHERE ctid = ANY (ARRAY (
        SELECT old.place
        FROM organizations org CROSS JOIN LATERAL (
            SELECT ctid AS place FROM receipts
            WHERE org_id = org.org_id AND receipt_id < $1 AND received_at < $2
                  AND status NOT IN ('queued', 'processing')
            ORDER BY receipt_id LIMIT $3 FOR UPDATE SKIP LOCKED
        ) old
        LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted
