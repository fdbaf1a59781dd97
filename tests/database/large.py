"""A store with enough rows that the planner prefers the same indexes as with millions of rows."""

from typing import Any

import asyncpg

# No run of project p1 has branch b1, and only every 5,000th run has an error.
FILL = """
INSERT INTO organizations (slug, name) SELECT 'large-' || n, 'Large' FROM generate_series(1, 3) n;
SELECT create_month_partitions(month::date) FROM generate_series(date '2026-01-01', '2026-05-01', '1 month') month;

INSERT INTO cases (org_id, case_key, project_id, case_id, suite, name, occurrence)
SELECT org, n, 'p' || n % 20, CASE WHEN n % 2 = 0 THEN 'tc_' || n / 100 END, 'suite ' || n % 50, 'case ' || n, 0
FROM generate_series(1, 2) org, generate_series(1, 4000) n;

UPDATE cases SET owners = ARRAY['owner ' || case_key % 40];
INSERT INTO case_owners (org_id, case_key, owner, project_id)
SELECT org_id, case_key, owners[1], project_id FROM cases;

INSERT INTO case_states (org_id, case_key, project_id, environment, state)
SELECT org, n, 'p' || n % 20, 'env' || n % 2, CASE WHEN n % 3 = 0 THEN 'broken' ELSE 'flaky' END
FROM generate_series(1, 2) org, generate_series(1, 4000, 7) n;

INSERT INTO projects (org_id, project_id)
SELECT org, 'p' || n FROM generate_series(1, 2) org, generate_series(1, 4000) n;

INSERT INTO runs (org_id, run_key, run_id, project_id, environment, branch, status, status_event_s, passed, failed,
                  error, skipped, flaky, commit_sha, complete, completed_at, last_completed_at, field_versions,
                  pull_request, pipeline, author, trusted)
SELECT org, overlay(first_run_key(at)::text placing lpad(to_hex(n), 8, '0') from 29 for 8)::uuid, 'run_' || n,
       'p' || n % 20, 'env' || n % 4, CASE WHEN n % 20 <> 1 THEN 'b' || n % 7 ELSE 'b0' END, 'p', 0, 8,
       (n % 100 = 0)::int, (n % 5000 = 0)::int, 1, (n % 50 = 0)::int, md5(n::text), true, at, at, '{}',
       CASE WHEN n % 2 = 0 THEN n / 20 END, 'github-' || n / 4, 'author ' || n % 40, n % 1500 <> 7
FROM generate_series(1, 2) org, generate_series(1, 15000) n,
     LATERAL (SELECT timestamptz '2026-01-01 UTC' + n * interval '14 minutes' AS at) completed;

INSERT INTO results (org_id, run_key, case_key, duration_ms, started_offset_ms, event_time_offset_s, attempts, status,
                     flaky)
SELECT org_id, run_key, 20 * k + substring(project_id, 2)::int, 10, -2147483648, 0, 1,
       CASE WHEN k = 1 AND failed > 0 THEN 'f' WHEN k = 2 AND error > 0 THEN 'e' WHEN k = 3 THEN 's' ELSE 'p' END,
       flaky > 0 AND k = 4
FROM runs, generate_series(1, 10) k;

INSERT INTO result_details (org_id, run_key, case_key, duration_ms, started_offset_ms, attempt, status, is_last_attempt,
                            flaky, message, fingerprint)
SELECT org_id, run_key, case_key, 10, -2147483648, 1, CASE WHEN flaky THEN 'f' ELSE status END, NOT flaky, flaky,
       'expected 200 got 503', CASE WHEN status IN ('f', 'e') THEN hashint8extended(case_key, 0) END
FROM results WHERE status <> 'p' OR flaky;

INSERT INTO failure_group_minutes (org_id, fingerprint, minute)
SELECT DISTINCT org_id, fingerprint, completion_minute(run_key) FROM result_details WHERE fingerprint IS NOT NULL;
INSERT INTO failure_group_minutes (org_id, fingerprint, minute)
SELECT org_id, n % 2000, completion_minute(run_key) FROM runs, generate_series(1, 3) n;

INSERT INTO decisions (org_id, decision_id, project_id, run_id, revision, gate, gate_version, policy, decision, rules,
                       failures, digest)
SELECT org, 'dec_' || lpad(to_hex(n), 32, '0'), 'p' || n % 20, 'run_' || n, 1, 'gate ' || n % 30, 1, '{}', 'passed',
       '[]', '{}', n::text::bytea
FROM generate_series(1, 2) org, generate_series(1, 5000) n;

INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, pipeline)
SELECT org, 'rcp_' || lpad(to_hex(n), 32, '0'), 'ci', 'event ' || n, '', 'stored', 'run_' || n / 2, 'p' || n % 20,
       CASE WHEN n % 2 = 0 THEN 'github-' || n / 8 END
FROM generate_series(1, 2) org, generate_series(1, 5000) n;
"""
TABLES = (
    "runs", "cases", "projects", "results", "result_details", "failure_group_minutes", "artifacts", "decisions",
    "receipts", "case_states", "case_owners",
)  # fmt: skip


async def fill(database_url: str) -> None:
    """Insert the rows as the owner of the tables, and give the planner statistics."""
    owner = await asyncpg.connect(database_url)
    await owner.execute(FILL)
    for table in TABLES:
        await owner.execute(f"ANALYZE {table}")
    await owner.close()


def plan_nodes(plan: Any) -> list[Any]:
    """Return every node of a plan in the JSON format of EXPLAIN."""
    return [plan, *(node for child in plan.get("Plans", []) for node in plan_nodes(child))]
