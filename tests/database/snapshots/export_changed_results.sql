-- $1 raw
-- $2 org_id
-- $3 changed_keys
-- $4 first_run
-- $5 last_run
-- $6 trusted
-- $7 project_id
-- $8 environment
-- $9 branch
-- $10 commit_sha
-- $11 pull_request
-- $12 pipeline
-- $13 author
-- $14 labels
-- $15 flaky
-- $16 statuses
-- $17 run_id
-- $18 fingerprint
-- $19 first_case
-- $20 last_case
-- $21 any_status
-- $22 min_duration_ms
-- $23 case_keys
-- $24 suite
-- $25 owner
-- $26 variants
-- $27 words

SELECT run.id_prefix || tested_case.hex AS id, run.run_id, run.project_id, run.environment, run.branch, run.commit_sha, run.ci_url, run.labels_text AS labels, 'case_' || tested_case.hex AS "case", tested_case.case_id, tested_case.variant_text AS variant, tested_case.suite, tested_case.name, coalesce(fact.file, tested_case.file) AS file, status_name(fact.status) AS status, fact.flaky::text AS flaky, fact.attempts, known_duration(fact.duration_ms) AS duration_ms, rfc3339(known_start(run.completed_at, fact.started_offset_ms)) AS started_at, run.completed_text AS completed_at, fact.failure_summary, array_to_json(tested_case.owners)::text AS owners
FROM (
    SELECT r.run_key, 'res_' || replace(r.run_key::text, '-', '') AS id_prefix, spreadsheet_cell(r.run_id, $1::bool) AS run_id,
           spreadsheet_cell(r.project_id, $1::bool) AS project_id, spreadsheet_cell(r.environment, $1::bool) AS environment,
           spreadsheet_cell(r.branch, $1::bool) AS branch, spreadsheet_cell(r.commit_sha, $1::bool) AS commit_sha,
           spreadsheet_cell(r.ci_url, $1::bool) AS ci_url, r.labels, r.labels::text AS labels_text, r.completed_at,
           rfc3339(r.completed_at) AS completed_text
    FROM (SELECT * FROM runs WHERE runs.org_id = $2::int AND runs.run_key = ANY ($3::uuid[])) r
    WHERE r.org_id = $2::int AND r.run_key BETWEEN $4::uuid AND $5::uuid AND (($6::bool IS NULL OR (r.trusted IS NOT FALSE) = $6::bool)
    AND ($7::text IS NULL OR r.project_id = $7) AND ($8::text IS NULL OR r.environment = $8)
    AND ($9::text IS NULL OR r.branch = $9)
    AND ($10::text IS NULL OR starts_with(r.commit_sha, $10))
    AND ($11::text IS NULL OR r.pull_request = $11)
    AND ($12::text IS NULL OR r.pipeline = $12) AND ($13::text IS NULL OR r.author = $13)
    AND ($14::text[] IS NULL OR r.labels @> ALL ((SELECT $14::text[]::jsonb[])::jsonb[]))
     AND CASE WHEN $15::bool IS NULL THEN (CASE WHEN 'p' = ANY ($16::text[]) THEN r.passed ELSE 0 END
      + CASE WHEN 'f' = ANY ($16::text[]) THEN r.failed ELSE 0 END
      + CASE WHEN 'e' = ANY ($16::text[]) THEN r.error ELSE 0 END
      + CASE WHEN 's' = ANY ($16::text[]) THEN r.skipped ELSE 0 END
      + CASE WHEN 'c' = ANY ($16::text[]) THEN r.canceled ELSE 0 END)
          WHEN $15::bool THEN CASE WHEN 'p' = ANY ($16::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($16::text[]) THEN r.passed ELSE 0 END
           + CASE WHEN 'f' = ANY ($16::text[]) THEN r.failed ELSE 0 END
           + CASE WHEN 'e' = ANY ($16::text[]) THEN r.error ELSE 0 END
           + CASE WHEN 's' = ANY ($16::text[]) THEN r.skipped ELSE 0 END
           + CASE WHEN 'c' = ANY ($16::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($16::text[]) THEN r.flaky ELSE 0 END END > 0)
    AND ($17::text IS NULL OR r.run_id = $17::text)
    AND ($18::bigint IS NULL OR r.run_key = ANY (ARRAY(
        SELECT d.run_key
        FROM (
            SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                SELECT DISTINCT g.minute FROM failure_group_minutes g
                WHERE g.org_id = $2::int AND g.fingerprint = $18::bigint
                  AND g.minute BETWEEN completion_minute($4::uuid) AND completion_minute($5::uuid)
            ) minute
            OFFSET 0
        ) minute CROSS JOIN unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
            SELECT d.run_key FROM result_details d
            WHERE d.org_id = $2::int AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
              AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $18::bigint
              AND d.run_key BETWEEN $4::uuid AND $5::uuid
            OFFSET 0
        ) d)))
    ORDER BY r.run_key DESC OFFSET 0
) run CROSS JOIN LATERAL (
    SELECT r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms,
           spreadsheet_cell(d.summary, $1::bool) AS failure_summary, spreadsheet_cell(d.file, $1::bool) AS file
    FROM results r
    LEFT JOIN result_details d ON d.org_id = $2::int AND d.run_key = run.run_key
                                  AND d.case_key = r.case_key AND (d.is_last_attempt AND d.status <> 'p' OR d.flaky)
    WHERE r.org_id = $2::int AND r.run_key = run.run_key
      AND r.case_key BETWEEN $19::bigint AND $20::bigint
      AND ($21::bool OR r.status = ANY ($16::text[]::"char"[])) AND ($15::bool IS NULL OR r.flaky = $15::bool)
      AND ($22::int IS NULL OR r.duration_ms >= $22::int)
      AND ($23::bigint[] IS NULL OR r.case_key = ANY ($23::bigint[]))
      AND ($18::bigint IS NULL OR d.fingerprint = $18::bigint)
    ORDER BY r.case_key DESC OFFSET 0
) fact CROSS JOIN LATERAL (
    SELECT lpad(to_hex(c.case_key), 16, '0') AS hex, spreadsheet_cell(c.case_id, $1::bool) AS case_id,
           c.variant, c.variant::text AS variant_text, c.owners,
           spreadsheet_cell(c.suite, $1::bool) AS suite, spreadsheet_cell(c.name, $1::bool) AS name, spreadsheet_cell(c.file, $1::bool) AS file
    FROM cases c
    WHERE c.org_id = $2::int AND c.case_key = fact.case_key AND ($24::text IS NULL OR c.suite = $24::text) AND ($25::text IS NULL OR $25 = ANY (c.owners))
    AND ($26::text[] IS NULL OR c.variant @> ALL ($26::text[]::jsonb[]))
    AND ($27::text[] IS NULL OR NOT EXISTS (
        SELECT 1 FROM unnest($27::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0))
    OFFSET 0
) tested_case
ORDER BY run.run_key DESC, fact.case_key DESC;
