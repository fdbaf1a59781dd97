-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches; returns the rows that it inserted or changed)
-- A case with a case_id gets its newest suite and name, and a case gets its newest file, as far as ingest/new_cases.py
-- permits it. Nothing of a hidden or promoted case stays: the code of a fork has stated all of its texts.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb
FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[])
    AS new (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
ORDER BY org_id, case_key
ON CONFLICT (org_id, case_key) DO UPDATE
    SET project_id = excluded.project_id, case_id = excluded.case_id, suite = excluded.suite, name = excluded.name,
        occurrence = excluded.occurrence, variant = excluded.variant, trusted = true, promoted = NULL, expires_on = NULL,
        file = coalesce(excluded.file, CASE WHEN stored.trusted AND stored.promoted IS NOT TRUE THEN stored.file END)
    WHERE NOT stored.trusted OR stored.promoted OR stored.project_id = excluded.project_id AND stored.variant = excluded.variant
      AND stored.case_id IS NOT DISTINCT FROM excluded.case_id
      AND (stored.case_id IS NOT NULL
           OR (stored.suite, stored.name, stored.occurrence) = (excluded.suite, excluded.name, excluded.occurrence))
      AND (stored.suite, stored.name, coalesce(stored.file, ''))
          <> (excluded.suite, excluded.name, coalesce(excluded.file, stored.file, ''))
RETURNING org_id, xmax <> 0 AS is_changed -- an inserted row has no xmax

-- name: insert_hidden  (those of an untrusted run that aren't stored yet; sorted by key, to prevent deadlocks)
-- A stored case stays as it is, except that a hidden one expires later.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant, trusted, expires_on)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb, false,
       (now() AT TIME ZONE 'UTC')::date + $10::int
FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[])
    AS new (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
ORDER BY org_id, case_key
ON CONFLICT (org_id, case_key) DO UPDATE SET expires_on = excluded.expires_on
    WHERE NOT stored.trusted AND stored.expires_on < excluded.expires_on

-- name: insert_promoted  (those of a promoted run that no trusted run contains; sorted by key, to prevent deadlocks)
-- The newest promoted run states the texts. For example, a stranger has uploaded a case_id first, with a name that a
-- quarantine matches: the run of another fork with this case_id shows its own name after its promotion.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant, promoted)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb, true
FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[])
    AS new (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
ORDER BY org_id, case_key
ON CONFLICT (org_id, case_key) DO UPDATE
    SET project_id = excluded.project_id, case_id = excluded.case_id, suite = excluded.suite, name = excluded.name,
        occurrence = excluded.occurrence, variant = excluded.variant, file = excluded.file, trusted = true,
        promoted = true, expires_on = NULL
    WHERE NOT stored.trusted OR stored.promoted

-- name: find_of_default_branch  (those that one of the newest runs of the default branch contains; none if $3 is this branch)
WITH newest AS MATERIALIZED (
    SELECT run.run_key FROM projects p CROSS JOIN LATERAL (
        SELECT r.run_key FROM runs r
        WHERE r.org_id = $1 AND r.project_id = $2 AND r.branch = p.default_branch AND r.trusted IS NOT FALSE
        ORDER BY r.run_key DESC LIMIT 100
    ) run
    WHERE p.org_id = $1 AND p.project_id = $2 AND p.default_branch <> $3
)
SELECT moved.case_key FROM unnest($4::bigint[]) AS moved (case_key)
WHERE EXISTS (  -- ends at the first run, which usually contains the case
    SELECT FROM newest CROSS JOIN LATERAL (
        SELECT FROM results r WHERE r.org_id = $1 AND r.run_key = newest.run_key AND r.case_key = moved.case_key LIMIT 1
    ) tested
)

-- name: count_changes  (in the transaction of the changes; sorted, to prevent deadlocks between batches)
UPDATE organizations SET cases_version = cases_version + 1
FROM (
    SELECT org_id FROM organizations WHERE org_id = ANY ($1::int[]) ORDER BY org_id FOR NO KEY UPDATE
) changed
WHERE organizations.org_id = changed.org_id
