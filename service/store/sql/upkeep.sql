-- name: end_stuck_writers  (a consumer that was stopped inside a COPY holds its locks, and no timeout ends it)
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'results_worker' AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead' AND query ILIKE 'COPY %' AND query_start < now() - $1::interval

-- name: delete_receipts  (of all organizations; an id begins with its time)
DELETE FROM receipts USING organizations o
WHERE receipts.org_id = o.org_id AND receipts.receipt_id < 'rcp_' || lpad(to_hex($1::bigint), 12, '0')
