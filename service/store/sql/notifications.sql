-- name: notify  (listeners then query the tables)
SELECT pg_notify($1, $2)
