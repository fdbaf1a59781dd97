-- name: notify  (a channel without a payload: listeners then query the tables)
SELECT pg_notify($1, '')

-- name: limit_lock_wait  (until the transaction ends)
SELECT set_config('lock_timeout', $1, true)
