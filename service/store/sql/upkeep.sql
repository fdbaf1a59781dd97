-- name: read_clock
SELECT clock_timestamp()

-- name: terminate_stuck_writers  (suspended consumers with locks, because no timeout of PostgreSQL applies)
-- They are suspended in a COPY ($1), or between the preparation of a statement and its execution ($2). The driver
-- prepares without a Sync message, so that the transaction isn't idle.
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'results_worker' AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead'
  AND query_start < now() - CASE WHEN query ILIKE 'COPY %' THEN $1::interval ELSE $2::interval END

-- name: delete_receipts  (of all organizations, at most $3)
-- The ID contains the time of the first event; received_at is later if the receipt was reused. Unread reports stay.
WITH deleted AS (
    DELETE FROM receipts
    WHERE ctid = ANY (ARRAY (
        SELECT old.row_address
        FROM organizations org CROSS JOIN LATERAL (
            SELECT ctid AS row_address FROM receipts
            WHERE org_id = org.org_id AND receipt_id < $1 AND received_at < $2
                  AND status NOT IN ('queued', 'processing')
            ORDER BY receipt_id LIMIT $3 FOR UPDATE SKIP LOCKED
        ) old
        LIMIT $3
    ))
    RETURNING 1
)
SELECT count(*) FROM deleted

-- name: find_position
SELECT after_path FROM listing_positions WHERE area = $1

-- name: set_position
INSERT INTO listing_positions (area, after_path) VALUES ($1, $2)
ON CONFLICT (area) DO UPDATE SET after_path = excluded.after_path
