-- name: insert_unseen  (sorted by key, so that two batches never wait for each other in a circle)
-- A case known by the producer's id takes its newest name; one known by suite and name has only a file to learn.
INSERT INTO cases AS known (org_id, case_key, project_id, case_id, suite, name, occurrence, file)
SELECT org_id, case_key, project_id, case_id, suite, name, occurrence, file
FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[])
    AS new (org_id, case_key, project_id, case_id, suite, name, occurrence, file)
ORDER BY org_id, case_key
ON CONFLICT (org_id, case_key) DO UPDATE
    SET suite = excluded.suite, name = excluded.name, file = coalesce(excluded.file, known.file)
    WHERE known.project_id = excluded.project_id
      AND known.case_id IS NOT DISTINCT FROM excluded.case_id
      AND (known.case_id IS NOT NULL
           OR (known.suite, known.name, known.occurrence) = (excluded.suite, excluded.name, excluded.occurrence))
      AND (known.suite, known.name, coalesce(known.file, ''))
          <> (excluded.suite, excluded.name, coalesce(excluded.file, known.file, ''))

-- name: find  (to tell a case from another one with the same key)
SELECT known.org_id, known.case_key, project_id, case_id, suite, name, occurrence, file
FROM unnest($1::int[], $2::bigint[]) AS wanted (org_id, case_key)
JOIN cases known USING (org_id, case_key)

-- name: find_key  (the case of a filter)
SELECT project_id, case_id, case_key FROM cases
WHERE org_id = $1 AND case_key = $2 AND ($3::text IS NULL OR project_id = $3) AND ($4::text IS NULL OR suite = $4)

-- name: find_id  (one row is one case; two say that there are several)
SELECT project_id, case_id, case_key FROM cases
WHERE org_id = $1 AND case_id = $2 AND ($3::text IS NULL OR project_id = $3) AND ($4::text IS NULL OR suite = $4)
LIMIT 2
