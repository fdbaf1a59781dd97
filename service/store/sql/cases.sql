-- name: find_server_state
-- The incarnation is the server process, the database, and the files of the tables that ingest caches. A failover, a
-- restored backup, and TRUNCATE change at least one of them.
SELECT concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()),
                 (SELECT oid FROM pg_database WHERE datname = current_database()),
                 pg_relation_filenode(to_regclass('cases')), pg_relation_filenode(to_regclass('organizations')),
                 pg_relation_filenode(to_regclass('projects')))
           AS incarnation,
       clock_timestamp() AS now

-- name: insert_unseen  (sorted by key, to prevent deadlocks between batches)
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
