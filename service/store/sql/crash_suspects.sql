-- name: start_attempt  (a message that no consumer has attempted for a day starts again; repeatable)
WITH expired AS (
    DELETE FROM crash_suspects
    WHERE attempted_at < now() - interval '1 day' AND (queue, body_sha256) <> ($1, $2)
)
INSERT INTO crash_suspects AS suspect (queue, body_sha256, attempt_count, attempted_by) VALUES ($1, $2, 0, ARRAY[$3])
ON CONFLICT (queue, body_sha256) DO UPDATE
SET attempt_count = CASE WHEN suspect.attempted_at < now() - interval '1 day' THEN 0 ELSE suspect.attempt_count END,
    attempted_by = CASE WHEN suspect.attempted_at < now() - interval '1 day' THEN excluded.attempted_by
                        ELSE array_append(array_remove(suspect.attempted_by, $3), $3) END,
    attempted_at = now()
RETURNING attempt_count + cardinality(attempted_by)

-- name: withdraw_attempt
UPDATE crash_suspects SET attempted_by = array_remove(attempted_by, $3) WHERE queue = $1 AND body_sha256 = $2

-- name: clear
DELETE FROM crash_suspects WHERE queue = $1 AND body_sha256 = $2
