-- The organizations, cases, and runs of {results} results. The last run completes now, in the last of {months} months.
-- The sizes of runs follow a Zipf distribution over cases: the case of rank i is part of 40 / i of the runs of its project,
-- or of all runs up to rank 40. A run has 40 to 5,000 results, 232.6 on average. The organization k has about 1 / k of the
-- results of the first one. The sequences of a two-dimensional golden ratio replace random numbers.
INSERT INTO organizations (slug, name) SELECT 'org-' || n, 'Organization ' || n FROM generate_series(1, {organizations}) n;

SELECT create_month_partitions(month::date)
FROM generate_series(date_trunc('month', now()) - ({months} - 1) * interval '1 month', now(), '1 month') month;

CREATE UNLOGGED TABLE generated_runs AS
SELECT n, org_id, 'p' || n % 2 AS project_id, size, at,
       (left(first_run_key(at)::text, 13) || substr(md5(n::text)::uuid::text, 14))::uuid AS run_key
FROM (SELECT n, least({organizations}, floor(power({organizations} + 1, n * 0.5698402909980532 % 1)))::int AS org_id,
             least(5000, floor(40 / greatest(n * 0.7548776662466927 % 1, 1e-9)))::int AS size,
             now() - (1 - n / {runs}::float8) * (now() - date_trunc('month', now()) + ({months} - 1) * interval '30 days') AS at
      FROM generate_series(1, {runs}) n) run;
ALTER TABLE generated_runs ADD PRIMARY KEY (n);

CREATE UNLOGGED TABLE generated_cases AS
SELECT org_id, project_id, rank, hashtextextended(org_id || project_id || rank, 0) AS case_key
FROM (SELECT org_id, project_id, max(size) AS cases FROM generated_runs GROUP BY org_id, project_id) project,
     generate_series(1, cases) rank;
ALTER TABLE generated_cases ADD PRIMARY KEY (org_id, project_id, rank) INCLUDE (case_key);
ANALYZE generated_runs, generated_cases;

INSERT INTO cases (org_id, case_key, project_id, case_id, suite, name, file, occurrence)
SELECT org_id, case_key, project_id, 'tc_' || rank, 'suite.number' || rank / 50, 'behaves as specified, number ' || rank,
       'tests/test_' || rank / 50 || '.py', 0
FROM generated_cases ORDER BY org_id, case_key;

INSERT INTO projects (org_id, project_id) SELECT DISTINCT org_id, project_id FROM generated_runs;

INSERT INTO runs (org_id, run_key, run_id, project_id, environment, branch, commit_sha, labels, status, status_event_s, passed,
                  failed, flaky, complete, completed_at, last_completed_at, field_versions)
SELECT org_id, run_key, 'run_' || n, project_id, 'env' || n % 3, CASE n % 3 WHEN 0 THEN 'main' ELSE 'b' || n % 50 END,
       md5((n / 2)::text) || '00000000', jsonb_build_object('team', 't' || n % 5), CASE WHEN failed > 0 THEN 'f' ELSE 'p' END, 0,
       size - failed, failed, flaky, true, at, at, '{}'
FROM (SELECT *, (n + size) / 33 - n / 33 AS failed, (n + size + 323) / 330 - (n + 323) / 330 AS flaky FROM generated_runs) run
ORDER BY n
