-- name: record_heartbeat
INSERT INTO heartbeats (worker_id, role, heartbeat_at) VALUES ($1, $2, now())
ON CONFLICT (worker_id) DO UPDATE SET heartbeat_at = now()

-- name: delete_heartbeat
DELETE FROM heartbeats WHERE worker_id = $1 OR heartbeat_at < now() - interval '1 day'

-- name: count_live_workers  (of how many workers has anything been heard within 15 s)
SELECT role, count(*)::int AS workers FROM heartbeats
WHERE heartbeat_at > now() - interval '15 seconds'
GROUP BY role ORDER BY role

-- name: find_heartbeats  (of each of these roles: how many workers count_live_workers would count, and how old the last beat is)
SELECT role, (count(*) FILTER (WHERE heartbeat_at > now() - interval '15 seconds'))::int AS workers,
       extract(epoch FROM now() - max(heartbeat_at))::float8 AS heartbeat_age_s
FROM unnest($1::text[]) AS requested (role) LEFT JOIN heartbeats USING (role)
GROUP BY role ORDER BY role
