-- One organization with 101 runs of 10,000 results on main. Each run has 1,000 failures, of which its predecessor has 999.
-- The other projects have no runs: without them, the table of projects would be one page, which is read completely.
INSERT INTO organizations (slug, name) VALUES ('comparison', 'Comparison');

INSERT INTO projects (org_id, project_id)
SELECT org_id, CASE n WHEN 1 THEN 'suite' ELSE 'other ' || n END FROM organizations, generate_series(1, 5000) n
WHERE slug = 'comparison';

INSERT INTO cases (org_id, case_key, project_id, case_id, suite, name, occurrence)
SELECT org_id, hashtextextended('case ' || n, 0), 'suite', 'tc_' || n, 'suite ' || n % 100, 'case ' || n, 0
FROM organizations, generate_series(1, 10000) n WHERE slug = 'comparison';

INSERT INTO runs (org_id, run_key, run_id, project_id, branch, status, status_event_s, passed, failed, complete,
                  completed_at, last_completed_at, field_versions)
SELECT org_id, overlay(first_run_key(at)::text placing lpad(to_hex(n), 8, '0') from 29 for 8)::uuid, 'run_' || n, 'suite',
       'main', 'f', 0, 9000, 1000, true, at, at, '{}'
FROM organizations, generate_series(1, 101) n, LATERAL (SELECT timestamptz '2026-05-01 UTC' + n * interval '1 hour' AS at) t
WHERE slug = 'comparison';

INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, status, flaky)
SELECT org_id, run_key, hashtextextended('case ' || n, 0), n, -2147483648, 0, 1,
       CASE WHEN (n - substring(run_id, 5)::int) BETWEEN 1 AND 1000 THEN 'f' ELSE 'p' END, false
FROM runs JOIN organizations USING (org_id) CROSS JOIN generate_series(1, 10000) n WHERE slug = 'comparison'
ORDER BY run_key, 3;

INSERT INTO result_details (org_id, run_key, case_key, duration_ms, started_offset_ms, attempt, status, is_last_attempt, type, message)
SELECT r.org_id, r.run_key, r.case_key, r.duration_ms, -2147483648, 1, r.status, true, 'AssertionError', 'expected 200 got 503'
FROM organizations JOIN runs USING (org_id) JOIN results r USING (org_id, run_key)
WHERE slug = 'comparison' AND r.status <> 'p'
