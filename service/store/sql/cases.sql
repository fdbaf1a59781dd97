-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches; returns the rows that it inserted or changed)
-- A case with a case_id gets its newest suite and name. A case without one can only get a file that it didn't have.
INSERT INTO cases AS stored (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant::jsonb
FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[])
    AS new (org_id, case_key, project_id, case_id, suite, name, occurrence, file, variant)
ORDER BY org_id, case_key
ON CONFLICT (org_id, case_key) DO UPDATE
    SET suite = excluded.suite, name = excluded.name, file = coalesce(excluded.file, stored.file)
    WHERE stored.project_id = excluded.project_id AND stored.variant = excluded.variant
      AND stored.case_id IS NOT DISTINCT FROM excluded.case_id
      AND (stored.case_id IS NOT NULL
           OR (stored.suite, stored.name, stored.occurrence) = (excluded.suite, excluded.name, excluded.occurrence))
      AND (stored.suite, stored.name, coalesce(stored.file, ''))
          <> (excluded.suite, excluded.name, coalesce(excluded.file, stored.file, ''))
RETURNING org_id, xmax <> 0 AS is_changed -- an inserted row has no xmax

-- name: count_changes  (in the transaction of the changes; sorted, to prevent deadlocks between batches)
UPDATE organizations SET cases_version = cases_version + 1
FROM (
    SELECT org_id FROM organizations WHERE org_id = ANY ($1::int[]) ORDER BY org_id FOR NO KEY UPDATE
) changed
WHERE organizations.org_id = changed.org_id
