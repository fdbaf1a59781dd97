-- name: count_attempt  (a message that no consumer has attempted for a day starts again at 1)
WITH expired AS (
    DELETE FROM crash_suspects
    WHERE attempted_at < now() - interval '1 day' AND (queue, body_sha256) <> ($1, $2)
)
INSERT INTO crash_suspects (queue, body_sha256) VALUES ($1, $2)
ON CONFLICT (queue, body_sha256) DO UPDATE
SET attempt_count = CASE WHEN crash_suspects.attempted_at < now() - interval '1 day' THEN 1
                         ELSE crash_suspects.attempt_count + 1 END,
    attempted_at = now()
RETURNING attempt_count

-- name: withdraw_attempt
UPDATE crash_suspects SET attempt_count = attempt_count - 1 WHERE queue = $1 AND body_sha256 = $2

-- name: clear
DELETE FROM crash_suspects WHERE queue = $1 AND body_sha256 = $2
