-- One organization with :results results: runs of 200 cases, of which one in twenty fails; 5,000 cases in all.
SELECT create_month_partitions(month::date) FROM generate_series('2026-01-01'::date, '2026-12-01', '1 month') month \g /dev/null

INSERT INTO organizations (slug, name) VALUES ('acme', 'Acme') ON CONFLICT DO NOTHING;

INSERT INTO cases (org_id, case_key, project_id, case_id, suite, name, file, occurrence)
SELECT 1, hashtextextended('case ' || n, 0), 'shop', 'tc_' || n, 'suite.number' || n / 50,
       'behaves as specified, number ' || n, 'tests/test_' || n / 50 || '.py', 0
FROM generate_series(0, 4999) n;

INSERT INTO runs (org_id, run_key, run_id, project_id, environment, branch, commit_sha, labels, status, status_event_s, passed,
                  failed, complete, completed_at, last_completed_at, field_versions)
SELECT 1, (left(first_run_key(completed_time)::text, 13) || substr(md5(n::text)::uuid::text, 14))::uuid, 'run_' || n, 'shop',
       'staging', 'main', md5(n::text), '{"team": "payments"}', 'f', 0, 190, 10, true, completed_time, completed_time, '{}'
FROM (SELECT n, '2026-01-01'::timestamptz + n * interval '10 minutes' AS completed_time
      FROM generate_series(1, :results / 200) n) run;

INSERT INTO results (case_key, run_key, org_id, duration_ms, started_offset_ms, event_time_offset_s, attempts, status, flaky)
SELECT hashtextextended('case ' || run.number % 25 * 200 + n, 0), run.run_key, 1, (n * 37 + run.number) % 5000, -n * 100, 0, 1,
       CASE WHEN n % 20 = 0 THEN 'f' ELSE 'p' END, false
FROM (SELECT run_key, row_number() OVER (ORDER BY run_key) AS number FROM runs) run CROSS JOIN generate_series(0, 199) n
ORDER BY 2, 1;

INSERT INTO result_details (case_key, run_key, org_id, duration_ms, started_offset_ms, attempt, status, is_last_attempt, type, message)
SELECT case_key, run_key, 1, duration_ms, -2147483648, 1, status, true, 'AssertionError', 'expected 200 got 503 after ' || duration_ms
FROM results WHERE status = 'f';

VACUUM ANALYZE;
