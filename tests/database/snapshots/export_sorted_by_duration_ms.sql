-- $1 raw
-- $2 org_id
-- $3 first_run
-- $4 last_run
-- $5 trusted
-- $6 project_id
-- $7 environment
-- $8 branch
-- $9 commit_sha
-- $10 pull_request
-- $11 pipeline
-- $12 author
-- $13 labels
-- $14 flaky
-- $15 statuses
-- $16 run_id
-- $17 fingerprint
-- $18 first_case
-- $19 last_case
-- $20 any_status
-- $21 min_duration_ms
-- $22 case_keys
-- $23 suite
-- $24 owner
-- $25 variants
-- $26 words

SELECT tested_case.name
FROM (
    SELECT r.run_key, 'res_' || replace(r.run_key::text, '-', '') AS id_prefix, spreadsheet_cell(r.run_id, $1::bool) AS run_id,
           spreadsheet_cell(r.project_id, $1::bool) AS project_id, spreadsheet_cell(r.environment, $1::bool) AS environment,
           spreadsheet_cell(r.branch, $1::bool) AS branch, spreadsheet_cell(r.commit_sha, $1::bool) AS commit_sha,
           spreadsheet_cell(r.ci_url, $1::bool) AS ci_url, r.labels, r.labels::text AS labels_text, r.completed_at,
           rfc3339(r.completed_at) AS completed_text
    FROM runs r
    WHERE r.org_id = $2::int AND r.run_key BETWEEN $3::uuid AND $4::uuid AND (($5::bool IS NULL OR (r.trusted IS NOT FALSE) = $5::bool)
    AND ($6::text IS NULL OR r.project_id = $6) AND ($7::text IS NULL OR r.environment = $7)
    AND ($8::text IS NULL OR r.branch = $8)
    AND ($9::text IS NULL OR starts_with(r.commit_sha, $9))
    AND ($10::text IS NULL OR r.pull_request = $10)
    AND ($11::text IS NULL OR r.pipeline = $11) AND ($12::text IS NULL OR r.author = $12)
    AND ($13::text[] IS NULL OR r.labels @> ALL ((SELECT $13::text[]::jsonb[])::jsonb[]))
     AND CASE WHEN $14::bool IS NULL THEN (CASE WHEN 'p' = ANY ($15::text[]) THEN r.passed ELSE 0 END
      + CASE WHEN 'f' = ANY ($15::text[]) THEN r.failed ELSE 0 END
      + CASE WHEN 'e' = ANY ($15::text[]) THEN r.error ELSE 0 END
      + CASE WHEN 's' = ANY ($15::text[]) THEN r.skipped ELSE 0 END
      + CASE WHEN 'c' = ANY ($15::text[]) THEN r.canceled ELSE 0 END)
          WHEN $14::bool THEN CASE WHEN 'p' = ANY ($15::text[]) THEN r.flaky ELSE 0 END ELSE (CASE WHEN 'p' = ANY ($15::text[]) THEN r.passed ELSE 0 END
           + CASE WHEN 'f' = ANY ($15::text[]) THEN r.failed ELSE 0 END
           + CASE WHEN 'e' = ANY ($15::text[]) THEN r.error ELSE 0 END
           + CASE WHEN 's' = ANY ($15::text[]) THEN r.skipped ELSE 0 END
           + CASE WHEN 'c' = ANY ($15::text[]) THEN r.canceled ELSE 0 END) - CASE WHEN 'p' = ANY ($15::text[]) THEN r.flaky ELSE 0 END END > 0)
    AND ($16::text IS NULL OR r.run_id = $16::text)
    AND ($17::bigint IS NULL OR r.run_key = ANY (ARRAY(
        SELECT d.run_key
        FROM (
            SELECT first_run_key_of_minute(minute) AS first_key, first_run_key_of_minute(minute + 1) AS next_key FROM (
                SELECT DISTINCT g.minute FROM failure_group_minutes g
                WHERE g.org_id = $2::int AND g.fingerprint = $17::bigint
                  AND g.minute BETWEEN completion_minute($3::uuid) AND completion_minute($4::uuid)
            ) minute
            OFFSET 0
        ) minute CROSS JOIN unnest('{f,e}'::"char"[]) AS failing (status) CROSS JOIN LATERAL (
            SELECT d.run_key FROM result_details d
            WHERE d.org_id = $2::int AND d.status = failing.status AND d.is_last_attempt AND d.status <> 'p'
              AND d.run_key >= minute.first_key AND d.run_key < minute.next_key AND d.fingerprint = $17::bigint
              AND d.run_key BETWEEN $3::uuid AND $4::uuid
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
      AND r.case_key BETWEEN $18::bigint AND $19::bigint
      AND ($20::bool OR r.status = ANY ($15::text[]::"char"[])) AND ($14::bool IS NULL OR r.flaky = $14::bool)
      AND ($21::int IS NULL OR r.duration_ms >= $21::int)
      AND ($22::bigint[] IS NULL OR r.case_key = ANY ($22::bigint[]))
      AND ($17::bigint IS NULL OR d.fingerprint = $17::bigint)
    ORDER BY r.case_key DESC OFFSET 0
) fact CROSS JOIN LATERAL (
    SELECT lpad(to_hex(c.case_key), 16, '0') AS hex, spreadsheet_cell(c.case_id, $1::bool) AS case_id,
           c.variant, c.variant::text AS variant_text, c.owners,
           spreadsheet_cell(c.suite, $1::bool) AS suite, spreadsheet_cell(c.name, $1::bool) AS name, spreadsheet_cell(c.file, $1::bool) AS file
    FROM cases c
    WHERE c.org_id = $2::int AND c.case_key = fact.case_key AND ($23::text IS NULL OR c.suite = $23::text) AND ($24::text IS NULL OR $24 = ANY (c.owners))
    AND ($25::text[] IS NULL OR c.variant @> ALL ($25::text[]::jsonb[]))
    AND ($26::text[] IS NULL OR NOT EXISTS (
        SELECT 1 FROM unnest($26::text[]) AS word WHERE strpos(lower(c.suite || E'\n' || c.name), lower(word)) = 0))
    OFFSET 0
) tested_case
ORDER BY -fact.duration_ms, fact.case_key;
