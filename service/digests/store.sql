-- Digests: which ones are due, and the numbers of a week, from its Monday to Sunday in UTC.

-- name: find_due(org_id, week, may_lack_costs)
--     (the projects, each with the owners whose digest isn't created; an empty owner: all cases)
SELECT p.project_id, array_agg(DISTINCT coalesce(hook.owner, '')) AS owners
FROM webhooks hook JOIN projects p ON p.org_id = :org_id AND p.deletion_requested_at IS NULL
LEFT JOIN LATERAL ({day_after_costs}) following ON true CROSS JOIN (SELECT :week::date AS first) week
WHERE hook.org_id = :org_id AND hook.enabled AND hook.deleted_at IS NULL AND 'project.digest' = ANY (hook.events)
      AND hook.state IS NULL AND hook.created_at < (week.first + 7)::timestamp AT TIME ZONE 'UTC'
      AND (hook.branch IS NULL OR hook.branch = p.default_branch)
      AND (hook.project_id = p.project_id OR hook.project_id IS NULL AND EXISTS (
          SELECT FROM runs r WHERE {is_trusted_of_project} AND {is_before_end}
              AND r.run_key >= first_run_key((week.first - 7)::timestamp AT TIME ZONE 'UTC')))
      AND (:may_lack_costs OR NOT ({lacks_costs}))
      AND NOT EXISTS (SELECT FROM digests d WHERE d.org_id = :org_id AND d.project_id = p.project_id
                      AND d.owner = coalesce(hook.owner, '') AND d.week = week.first)
GROUP BY p.project_id ORDER BY p.project_id

-- name: lacks_costs  (whether a day of the week isn't rolled up, or has changed since)
EXISTS (
    SELECT FROM cost_changes c
    WHERE c.org_id = :org_id AND c.project_id = p.project_id AND c.day BETWEEN week.first AND week.first + 6
) OR EXISTS (
    SELECT FROM runs r WHERE {is_trusted_of_project} AND {is_before_end} AND NOT r.results_expired
        AND r.run_key >= first_run_key(greatest(week.first, following.day)::timestamp AT TIME ZONE 'UTC'))

-- name: is_trusted_of_project
r.org_id = :org_id AND r.project_id = p.project_id AND {is_trusted}

-- name: is_before_end
r.run_key < first_run_key((week.first + 7)::timestamp AT TIME ZONE 'UTC')

-- name: insert(org_id, project_id, week, owners)  (sorted, so that processes don't wait for each other in a circle)
INSERT INTO digests (org_id, project_id, owner, week)
SELECT :org_id, :project_id, owner, :week FROM unnest(:owners::text[]) AS new (owner) ORDER BY owner
ON CONFLICT DO NOTHING RETURNING owner

-- name: prune(before)
DELETE FROM digests WHERE week < :before

-- name: read_digest(org_id, project_id, week, owner, event_ids, link_base)
--     (members of DigestObject; `event_ids` are bounds of the events of the previous week and of this one)
WITH spent AS MATERIALIZED (
    SELECT s.start >= :week::date AS is_current, s.case_key, sum(passed + failed + error + skipped + canceled) AS results,
           sum(duration_ms) AS duration_ms, sum(retry_ms) AS retry_ms
    FROM case_costs s WHERE {is_of_digest} AND s.start BETWEEN :week::date - 7 AND :week::date + 6 GROUP BY 1, 2
), week AS MATERIALIZED (
    SELECT week.*, NOT ({lacks_costs}) AS has_costs, counted.*, changed.*
    FROM projects p LEFT JOIN LATERAL ({day_after_costs}) following ON true CROSS JOIN LATERAL (
        VALUES (true, :week::date, (:event_ids::text[])[2:]), (false, :week::date - 7, (:event_ids::text[])[:2])
    ) AS week (is_current, first, ids) CROSS JOIN LATERAL (
        SELECT count(*) AS runs, count(*) FILTER (WHERE r.status IN ('f', 'e')) AS failed_runs FROM runs r
        WHERE {is_trusted_of_project} AND {is_before_end} AND r.run_key >= first_run_key(week.first::timestamp AT TIME ZONE 'UTC')
    ) counted CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE type <> 'failure_group.resolved') AS opened,
               count(*) FILTER (WHERE type = 'failure_group.resolved') AS resolved FROM events
        WHERE org_id = :org_id AND project_id = p.project_id AND event_id >= ids[1] AND event_id < ids[2]
              AND type IN ('failure_group.opened', 'failure_group.recurred', 'failure_group.resolved')
              AND (:owner = '' OR :owner = ANY (owners))
    ) changed
    WHERE p.org_id = :org_id AND p.project_id = :project_id
), written AS (
    SELECT is_current, json_build_object(
        'runs', runs, 'failed_runs', failed_runs, 'results', CASE WHEN has_costs THEN coalesce(sum(results), 0) END,
        'duration_ms', CASE WHEN has_costs THEN coalesce(sum(duration_ms), 0) END,
        'retry_duration_ms', CASE WHEN has_costs THEN coalesce(sum(retry_ms), 0) END, 'opened', opened, 'resolved', resolved
    ) AS sums FROM week LEFT JOIN spent USING (is_current) GROUP BY is_current, runs, failed_runs, has_costs, opened, resolved
), longest AS (
    SELECT * FROM spent WHERE is_current AND (SELECT has_costs FROM week WHERE is_current) ORDER BY duration_ms DESC, case_key LIMIT 5
), shown AS (
    SELECT min(s.state) AS state FROM case_states s WHERE {is_of_digest} GROUP BY s.case_key
)
SELECT json_build_object(
    'current', (SELECT sums FROM written WHERE is_current), 'previous', (SELECT sums FROM written WHERE NOT is_current),
    'broken', (SELECT count(*) FROM shown WHERE state = 'broken'), 'flaky', (SELECT count(*) FROM shown WHERE state = 'flaky'),
    'quarantined', (SELECT count(*) FROM quarantines s WHERE {is_of_digest} AND s.ended_at IS NULL AND s.expires_at > now()),
    'longest', (
        SELECT coalesce(json_agg(json_build_object(
            'case', case_public_id(case_key), 'suite', left(suite, 200), 'name', left(name, 200), 'duration_ms', duration_ms,
            'console', :link_base || '/console/cases/' || case_public_id(case_key)
        ) ORDER BY duration_ms DESC, case_key), '[]') FROM longest JOIN cases c USING (case_key) WHERE c.org_id = :org_id))

-- name: is_of_digest  (a row `s` of a case of the project and the owner)
s.org_id = :org_id AND s.project_id = :project_id AND (:owner = '' OR EXISTS (
    SELECT FROM case_owners o WHERE o.org_id = :org_id AND o.case_key = s.case_key AND o.owner = :owner))
