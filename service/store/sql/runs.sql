-- name: insert_new  (sorted; without a conflict target, since a run may be known by its key or by its id)
INSERT INTO runs (org_id, run_key, run_id, project_id, environment, branch, commit_sha, ci_url, labels, field_versions,
                  status, stated_status, status_event_s, passed, failed, error, skipped, canceled, flaky, complete,
                  expected_results, expected_shards, shards, started_at, completed_at, last_completed_at, duration_ms)
SELECT org_id, run_key, run_id, project_id, environment, branch, commit_sha, ci_url, labels::jsonb, field_versions::jsonb,
       status::"char", stated_status::"char", status_event_s, passed, failed, error, skipped, canceled, flaky, complete,
       expected_results, expected_shards, ARRAY (SELECT jsonb_array_elements_text(shards::jsonb)),
       started_at, completed_at, last_completed_at, duration_ms
FROM unnest($1::int[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::text[], $11::text[], $12::text[], $13::bigint[], $14::int[], $15::int[], $16::int[], $17::int[],
            $18::int[], $19::int[], $20::bool[], $21::int[], $22::int[], $23::text[], $24::timestamptz[],
            $25::timestamptz[], $26::timestamptz[], $27::bigint[])
    AS new (org_id, run_key, run_id, project_id, environment, branch, commit_sha, ci_url, labels, field_versions,
            status, stated_status, status_event_s, passed, failed, error, skipped, canceled, flaky, complete,
            expected_results, expected_shards, shards, started_at, completed_at, last_completed_at, duration_ms)
ORDER BY org_id, run_id
ON CONFLICT DO NOTHING
RETURNING org_id, run_id

-- name: lock  (in the order of insert_new; whoever merges into a run holds its row)
SELECT run.org_id, run.run_key, run.run_id, project_id, environment, branch, commit_sha, ci_url, labels, field_versions,
       status::text, stated_status::text, status_event_s, passed, failed, error, skipped, canceled, flaky, complete,
       expected_results, expected_shards, shards, started_at, completed_at, last_completed_at, revision, results_expired
FROM unnest($1::int[], $2::text[]) AS wanted (org_id, run_id)
JOIN runs run ON run.org_id = wanted.org_id AND run.run_id = wanted.run_id
ORDER BY run.org_id, run.run_id
FOR UPDATE OF run

-- name: update
UPDATE runs
SET environment = $3, branch = $4, commit_sha = $5, ci_url = $6, labels = $7::text::jsonb, field_versions = $8::text::jsonb, status = $9::text::"char",
    stated_status = $10::text::"char", status_event_s = $11, passed = $12, failed = $13, error = $14, skipped = $15,
    canceled = $16, flaky = $17, complete = $18, expected_results = $19, expected_shards = $20, shards = $21,
    started_at = $22, last_completed_at = $23, duration_ms = $24, revision = $25
WHERE org_id = $1 AND run_key = $2

-- name: count_results
SELECT count(*) FILTER (WHERE status = 'p')::int AS passed, count(*) FILTER (WHERE status = 'f')::int AS failed,
       count(*) FILTER (WHERE status = 'e')::int AS error, count(*) FILTER (WHERE status = 's')::int AS skipped,
       count(*) FILTER (WHERE status = 'c')::int AS canceled, count(*) FILTER (WHERE flaky)::int AS flaky
FROM results WHERE org_id = $1 AND run_key = $2
