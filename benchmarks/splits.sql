-- One project with {runs} complete runs of the default branch, each with {items} results: one case of each item. The durations are
-- log-uniform, from 10 ms to 10 s, and vary by up to 20 % between runs.
INSERT INTO projects (org_id, project_id) VALUES (1, 'shop');
SELECT create_month_partitions(date '2026-05-01');

INSERT INTO cases (org_id, case_key, project_id, suite, name, file, occurrence)
SELECT 1, hashint8extended(n, 0), 'shop', 'suite ' || n / 100, 'behaves as specified, number ' || n,
       'tests/area_' || n / 1000 || '/test_' || n || '.py', 0
FROM generate_series(1, {items}) n;

INSERT INTO runs (org_id, run_key, run_id, project_id, branch, status, status_event_s, passed, complete, completed_at,
                  last_completed_at, field_versions)
SELECT 1, first_run_key(at), 'run_' || n, 'shop', 'main', 'p', 0, {items}, true, at, at, '{}'
FROM generate_series(1, {runs}) n, LATERAL (SELECT timestamptz '2026-05-01 UTC' + n * interval '1 hour' AS at) completed;

INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, status, flaky)
SELECT 1, run_key, hashint8extended(n, 0),
       10 * 1000 ^ (n * 7919 % 1000 / 1000.0) * (1 + (n + right(run_id, 1)::int) % 5 / 20.0), -2147483648, 0, 1, 'p', false
FROM runs, generate_series(1, {items}) n
