-- name: find  (the files of a key today, and the seconds until the next day in UTC)
SELECT coalesce(sum(files), 0)::int AS files, coalesce(sum(bytes), 0)::bigint AS bytes,
       ceil(extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::int AS seconds_left
FROM artifact_usage WHERE org_id = $1 AND key_id = $2 AND day = (now() AT TIME ZONE 'UTC')::date

-- name: add
INSERT INTO artifact_usage AS known (org_id, key_id, day, files, bytes)
VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date, $3, $4)
ON CONFLICT (org_id, key_id, day) DO UPDATE SET files = known.files + excluded.files, bytes = known.bytes + excluded.bytes
RETURNING files, bytes,
          ceil(extract(epoch FROM date_trunc('day', now(), 'UTC') + interval '1 day' - now()))::int AS seconds_left

-- name: delete_expired
-- At most $1 rows of all organizations, of days before yesterday in UTC.
WITH deleted AS (
    DELETE FROM artifact_usage WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM artifact_usage WHERE day < (now() AT TIME ZONE 'UTC')::date - 1 ORDER BY day LIMIT $1
    ))
    RETURNING org_id
)
SELECT count(*) FROM deleted
