INSERT INTO organizations (slug, name) VALUES ('acme', 'Acme');
INSERT INTO projects (org_id, project_id) SELECT 1, unnest(ARRAY['large', 'wide', 'long']);
SELECT create_month_partitions(((now() AT TIME ZONE 'UTC')::date - 1)::date);
SELECT create_month_partitions((now() AT TIME ZONE 'UTC')::date);
INSERT INTO cases (org_id, case_key, project_id, suite, name, occurrence)
    SELECT 1, project.first + number, project.id, 'suite.' || number / 100, 'behaves as specified, number ' || number, 0
    FROM (VALUES ('large', 100000, 10000), ('wide', 200000, 10000), ('long', 300000, 1000)) AS project (id, first, cases)
    CROSS JOIN LATERAL generate_series(0, project.cases - 1) AS number;
INSERT INTO case_owners (org_id, case_key, owner, project_id)
    SELECT 1, case_key, '@acme/team-' || case_key % 20, project_id FROM cases;
INSERT INTO runs (org_id, run_key, run_id, project_id, branch, status, status_event_s, passed, failed, complete,
                  completed_at, last_completed_at, field_versions, trusted)
    SELECT 1, (left(first_run_key(at)::text, 13) || '-0000-0000-' || lpad(to_hex(run.number), 12, '0'))::uuid,
           run.project || ' ' || run.number, run.project, 'main', 'p', 0, run.results, 0, true, at, at, '{}', true
    FROM (
        SELECT 'large' AS project, number, {runs} AS runs, 10000 AS results, 0 AS days FROM generate_series(1, {runs}) AS number
        UNION ALL
        SELECT 'wide', number, 2, 10000, -1 FROM generate_series(1, 2) AS number
        UNION ALL
        SELECT 'long', number, 20, 1000, -1 FROM generate_series(1, 20) AS number
    ) run
    CROSS JOIN LATERAL (
        SELECT date_trunc('day', now(), 'UTC') - interval '1 day' * (1 + run.days)
               + CASE run.days WHEN 0 THEN interval '23 hours' ELSE (now() - date_trunc('day', now(), 'UTC')) END
                 * run.number / (run.runs + 1) AS at
    ) completed;
INSERT INTO run_parts (org_id, run_key, attempt, number, shard, has_results, name, variant)
    SELECT 1, run_key, 0, 10000 + part, 0, true, 'job ' || part, '{}' FROM runs, generate_series(1, 4) AS part;
INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, shard, status, flaky)
    SELECT 1, r.run_key, c.case_key, c.case_key * 37 % 5000, -1000, 0, 1 + (odd.hash = 0)::int, 10001 + c.case_key % 4,
           (CASE odd.hash WHEN 1 THEN 'f' ELSE 'p' END)::"char", odd.hash = 0
    FROM runs r JOIN cases c ON c.project_id = r.project_id
    CROSS JOIN LATERAL (SELECT abs(hashint8(c.case_key + length(r.run_id) * 7 + r.passed)) % 100 AS hash) odd
    ORDER BY r.run_key, c.case_key;
INSERT INTO result_details (org_id, run_key, case_key, attempt, is_last_attempt, status, duration_ms, started_offset_ms, message)
    SELECT 1, r.run_key, r.case_key, attempt, attempt = r.attempts, (CASE WHEN attempt = r.attempts THEN r.status ELSE 'f' END)::"char",
           r.duration_ms, -1000, repeat('expected 200 got 503 ', 10)
    FROM results r CROSS JOIN LATERAL generate_series(1, r.attempts) AS attempt
    WHERE r.attempts > 1 OR r.status <> 'p';
INSERT INTO case_costs (org_id, project_id, start, case_key, passed, failed, error, skipped, canceled, flaky, attempts,
                        unknown_durations, duration_ms, retry_ms)
    SELECT 1, c.project_id, day.start, c.case_key, 100, 1, 0, 0, 0, 1, 102, 0, c.case_key * 37 % 5000 * 100, c.case_key % 100
    FROM ({days}) day JOIN cases c ON c.project_id = day.project_id
    ORDER BY c.project_id, day.start, c.case_key;
INSERT INTO job_costs (org_id, project_id, start, job, passed, failed, error, skipped, canceled, flaky, attempts,
                       unknown_durations, duration_ms, retry_ms)
    SELECT 1, day.project_id, day.start, 'job ' || part, 1000, 10, 0, 0, 0, 10, 1020, 0, 4000000, 1000
    FROM ({days}) day, generate_series(1, 4) AS part;
INSERT INTO cost_days (org_id, project_id, start, is_month, runs, passed, failed, error, skipped, canceled, flaky, attempts,
                       unknown_durations, duration_ms, retry_ms)
    SELECT 1, day.project_id, day.start, day.is_month, 100, 4000, 40, 0, 0, 0, 40, 4080, 0, 16000000, 4000
    FROM ({days}) day;
