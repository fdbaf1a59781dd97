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

-- name: renew_versions  (of the cases of these organizations, as the trigger of `cases` does)
INSERT INTO case_versions (org_id, version)
SELECT org_id, gen_random_uuid() FROM unnest($1::int[]) AS changed (org_id) ORDER BY org_id
ON CONFLICT (org_id) DO UPDATE SET version = excluded.version
