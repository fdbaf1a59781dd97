-- name: notify  (a channel without a payload: listeners then query the tables)
SELECT pg_notify($1, '')
