-- name: record_heartbeat
INSERT INTO heartbeats (worker_id, role, heartbeat_at) VALUES ($1, $2, now())
ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = now()

-- name: delete_heartbeat
DELETE FROM heartbeats WHERE worker_id = $1 OR heartbeat_at < now() - interval '1 day'

-- name: count_live_workers  (a worker is live if its last heartbeat is at most 15 s old)
SELECT role, count(*)::int AS workers FROM heartbeats
WHERE heartbeat_at > now() - interval '15 seconds'
GROUP BY role ORDER BY role

-- name: find_heartbeats  (counts workers by the same limit as count_live_workers)
SELECT role, (count(*) FILTER (WHERE heartbeat_at > now() - interval '15 seconds'))::int AS workers,
       extract(epoch FROM now() - max(heartbeat_at))::float8 AS heartbeat_age_s
FROM unnest($1::text[]) AS requested (role) LEFT JOIN heartbeats USING (role)
GROUP BY role ORDER BY role
