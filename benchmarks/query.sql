-- 20 organizations with runs of 200 results. The first organization has a quarter of these runs. Organization 21 has many
-- runs of two results. {runs} is the number of runs with 200 results, and {small_runs} the number with two. One run in ten
-- has a failure, one in ten a flaky result, one in a thousand an error, and one in 20 no duration. Organization 21 has a branch and a project that
-- no run combines, and a branch with only old runs. No run has the last two cases. Two projects have the case tc_20.
INSERT INTO organizations (slug, name) SELECT 'org-' || n, 'Organization ' || n FROM generate_series(1, 21) n;
SELECT create_month_partitions(month::date) FROM generate_series(date '2025-06-01', date '2026-06-01', '1 month') month;

INSERT INTO cases (org_id, case_key, project_id, case_id, suite, name, occurrence)
SELECT org, n * 900719925474099 - 4503599627370495000, 'p' || n % 10, 'tc_' || CASE n WHEN 2001 THEN 20 ELSE n END,
       'suite ' || n % 100, 'case ' || n, 0
FROM generate_series(1, 21) org, generate_series(1, 2001) n;

INSERT INTO runs (org_id, run_key, run_id, project_id, environment, branch, status, status_event_s, passed, failed, error,
                  flaky, commit_sha, labels, complete, completed_at, last_completed_at, field_versions, duration_ms)
SELECT org, overlay(first_run_key(at)::text placing lpad(to_hex(n), 8, '0') from 29 for 8)::uuid, 'run_' || n,
       'p' || n % 10, 'env' || n % 3, CASE n % 7 WHEN 0 THEN 'main' ELSE 'b' || n % 50 END, 'p', 0,
       200, (n % 10 = 0)::int, (n % 1000 = 0)::int, (n % 10 = 4)::int,
       md5((n / 2)::text) || '00000000', jsonb_build_object('team', 't' || n % 5), true, at, at, '{}',
       CASE WHEN n % 20 > 0 THEN n * 7919::bigint % 3600000 END
FROM (SELECT n, CASE WHEN n % 4 = 0 THEN 1 ELSE 1 + n % 20 END AS org,
             timestamptz '2025-06-02 UTC' + n * (interval '360 days' / {runs}) AS at
      FROM generate_series(1, {runs}) n) run;

INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, status, flaky)
SELECT org_id, run_key, c * 900719925474099 - 4503599627370495000, c, -2147483648, 0, 1,
       CASE WHEN failed > 0 AND c / 10 = 1 THEN 'f' WHEN error > 0 AND c / 10 = 2 THEN 'e' ELSE 'p' END,
       flaky > 0 AND c / 10 = 3
FROM runs CROSS JOIN LATERAL (SELECT k * 10 + substring(project_id, 2)::int AS c FROM generate_series(1, 199) k) selected
WHERE org_id <= 20;

INSERT INTO runs (org_id, run_key, run_id, project_id, environment, branch, status, status_event_s, passed, failed, error,
                  flaky, commit_sha, labels, complete, completed_at, last_completed_at, field_versions, duration_ms)
SELECT 21, overlay(first_run_key(at)::text placing lpad(to_hex(n), 8, '0') from 29 for 8)::uuid, 'run_' || n,
       'p' || n % 10, 'env' || n % 3,
       CASE WHEN n < 20 THEN 'old' WHEN n % 10 <> 1 AND n % 7 = 0 THEN 'main' ELSE 'b' || n % 50 END, 'p', 0, 2,
       (n % 1000 = 0)::int, (n % 50000 = 0)::int, (n % 1000 = 4)::int,
       md5((n / 2)::text) || '00000000', jsonb_build_object('team', 't' || n % 5), true, at, at, '{}',
       CASE WHEN n % 20 > 0 THEN n * 7919::bigint % 3600000 END
FROM (SELECT n, timestamptz '2025-06-02 UTC' + n * (interval '360 days' / {small_runs}) AS at
      FROM generate_series(1, {small_runs}) n) run;

INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, status, flaky)
SELECT org_id, run_key, c * 900719925474099 - 4503599627370495000, c, -2147483648, 0, 1,
       CASE WHEN failed > 0 AND c < 20 THEN 'f' WHEN error > 0 THEN 'e' ELSE 'p' END, flaky > 0 AND c < 20
FROM runs CROSS JOIN LATERAL (SELECT k * 10 + substring(project_id, 2)::int AS c FROM generate_series(1, 2) k) selected
WHERE org_id = 21;

INSERT INTO result_details (org_id, run_key, case_key, duration_ms, started_offset_ms, attempt, status, is_last_attempt, flaky,
                            type, message, fingerprint)
SELECT org_id, run_key, case_key, duration_ms, -2147483648, 1, CASE WHEN flaky THEN 'f' ELSE status END, NOT flaky, flaky,
       'AssertionError', 'expected 200 got 503', CASE WHEN status IN ('f', 'e') THEN duration_ms % 100 END
FROM results WHERE status <> 'p' OR flaky;

INSERT INTO failure_group_minutes (org_id, fingerprint, minute)
SELECT DISTINCT org_id, fingerprint, completion_minute(run_key) FROM result_details WHERE fingerprint IS NOT NULL;
