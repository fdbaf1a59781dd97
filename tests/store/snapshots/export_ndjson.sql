-- $1 raw
-- $2 org_id
-- $3 first_run
-- $4 last_run
-- $5 project_id
-- $6 environment
-- $7 branch
-- $8 flaky
-- $9 statuses
-- $10 run_id
-- $11 first_case
-- $12 last_case
-- $13 any_status
-- $14 case_keys
-- $15 suite

SELECT row_to_json(item)::text FROM (
    SELECT run.id_prefix || tested_case.hex AS id, run.run_id, run.project_id, run.environment, run.branch, run.commit_sha, run.ci_url, run.labels, 'case_' || tested_case.hex AS "case", tested_case.case_id, tested_case.variant, tested_case.suite, tested_case.name, tested_case.file, status_name(fact.status) AS status, fact.flaky, fact.attempts, known_duration(fact.duration_ms) AS duration_ms, rfc3339(known_start(run.completed_at, fact.started_offset_ms)) AS started_at, run.completed_text AS completed_at, fact.failure_summary
    FROM (
        SELECT r.run_key, 'res_' || replace(r.run_key::text, '-', '') AS id_prefix, spreadsheet_cell(r.run_id, $1::bool) AS run_id,
               spreadsheet_cell(r.project_id, $1::bool) AS project_id, spreadsheet_cell(r.environment, $1::bool) AS environment,
               spreadsheet_cell(r.branch, $1::bool) AS branch, spreadsheet_cell(r.commit_sha, $1::bool) AS commit_sha,
               spreadsheet_cell(r.ci_url, $1::bool) AS ci_url, r.labels, r.labels::text AS labels_text, r.completed_at,
               rfc3339(r.completed_at) AS completed_text
        FROM runs r
        WHERE r.org_id = $2::int AND r.run_key BETWEEN $3::uuid AND $4::uuid AND (($5::text IS NULL OR r.project_id = $5) AND ($6::text IS NULL OR r.environment = $6)
        AND ($7::text IS NULL OR r.branch = $7)
         AND CASE WHEN $8::bool IS NULL THEN result_count(r, $9::text[])
              WHEN $8::bool THEN CASE WHEN 'p' = ANY ($9::text[]) THEN r.flaky ELSE 0 END ELSE result_count(r, $9::text[]) - CASE WHEN 'p' = ANY ($9::text[]) THEN r.flaky ELSE 0 END END > 0)
        AND ($10::text IS NULL OR r.run_id = $10::text)
        ORDER BY r.run_key DESC OFFSET 0
    ) run CROSS JOIN LATERAL (
        SELECT r.case_key, r.status, r.flaky, r.attempts, r.duration_ms, r.started_offset_ms,
               spreadsheet_cell(detail.summary, $1::bool) AS failure_summary
        FROM results r
        LEFT JOIN result_details detail ON detail.org_id = $2::int AND detail.run_key = run.run_key
                                      AND detail.case_key = r.case_key AND (detail.is_last_attempt AND detail.status <> 'p' OR detail.flaky)
        WHERE r.org_id = $2::int AND r.run_key = run.run_key
          AND r.case_key BETWEEN $11::bigint AND $12::bigint
          AND ($13::bool OR r.status = ANY ($9::text[]::"char"[])) AND ($8::bool IS NULL OR r.flaky = $8::bool)
          AND ($14::bigint[] IS NULL OR r.case_key = ANY ($14::bigint[]))
        ORDER BY r.case_key DESC OFFSET 0
    ) fact CROSS JOIN LATERAL (
        SELECT lpad(to_hex(c.case_key), 16, '0') AS hex, spreadsheet_cell(c.case_id, $1::bool) AS case_id,
               c.variant, c.variant::text AS variant_text,
               spreadsheet_cell(c.suite, $1::bool) AS suite, spreadsheet_cell(c.name, $1::bool) AS name, spreadsheet_cell(c.file, $1::bool) AS file
        FROM cases c
        WHERE c.org_id = $2::int AND c.case_key = fact.case_key AND ($15::text IS NULL OR c.suite = $15::text)
        OFFSET 0
    ) tested_case
    ORDER BY run.run_key DESC, fact.case_key DESC
) item;
