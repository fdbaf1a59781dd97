-- name: make_month
SELECT make_month($1::date)
