-- The results of the runs from {first} to {last}. Of each run, every 33rd result failed, and every 330th is flaky.
INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, status, flaky)
SELECT run.org_id, run.run_key, selected.case_key, selected.rank * 37 % 5000, -selected.rank, 0, 1,
       CASE WHEN (selected.rank + run.n) % 33 = 0 THEN 'f' ELSE 'p' END, (selected.rank + run.n) % 330 = 7
FROM (SELECT * FROM generated_runs WHERE n BETWEEN {first} AND {last} ORDER BY n) run
CROSS JOIN LATERAL (
    SELECT rank, case_key FROM generated_cases test_case
    WHERE test_case.org_id = run.org_id AND test_case.project_id = run.project_id AND rank <= run.size
    ORDER BY case_key
) selected;

INSERT INTO result_details (org_id, run_key, case_key, duration_ms, started_offset_ms, attempt, status, is_last_attempt, flaky,
                            type, message, fingerprint, summary)
SELECT run.org_id, run.run_key, selected.case_key, selected.rank * 37 % 5000, -selected.rank, 1, 'f',
       (selected.rank + run.n) % 33 = 0, (selected.rank + run.n) % 330 = 7, 'AssertionError', 'expected 200 got 503',
       CASE WHEN (selected.rank + run.n) % 33 = 0 THEN hashtextextended(run.project_id || selected.rank % 100, 0) END,
       'expected 200 got 503'
FROM (SELECT * FROM generated_runs WHERE n BETWEEN {first} AND {last} ORDER BY n) run
CROSS JOIN LATERAL (
    SELECT rank, case_key FROM generated_cases test_case
    WHERE test_case.org_id = run.org_id AND test_case.project_id = run.project_id AND rank <= run.size
          AND ((rank + run.n) % 33 = 0 OR (rank + run.n) % 330 = 7)
    ORDER BY case_key
) selected;

INSERT INTO failure_group_minutes (org_id, fingerprint, minute)
SELECT DISTINCT run.org_id, detail.fingerprint, completion_minute(run.run_key)
FROM generated_runs run JOIN result_details detail USING (org_id, run_key)
WHERE run.n BETWEEN {first} AND {last} AND detail.fingerprint IS NOT NULL
