"""Organizations that have rows in each table and files in each area of the storage."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from service.domain.ids import OrgId
from tests.database.test_isolation import TENANT_TABLES
from tests.run_events import result, run_event
from tests.served import Api, serve

FAILED = result("pays", "failed", failure={"message": "no"})
OTHER = OrgId(2)
# Rows of the tables that the events and requests of the fixture don't fill.
ROWS = """
INSERT INTO exports (org_id, export_id, request) VALUES ($1, 'exp_1', '{}');
INSERT INTO producers (org_id, user_id) VALUES ($1, 'team-a');
INSERT INTO publishers (org_id, publisher_id, name, provider, issuer, claims, project_id, role, created_by)
    VALUES ($1, 'pub_1', 'CI', 'oidc', 'https://ci.example.com', '{"project": "7"}', 'shop', 'uploader', 'key_1');
INSERT INTO token_exchanges (org_id, publisher_id, issuer, token_sha256, job, claims)
    VALUES ($1, 'pub_1', 'https://ci.example.com', 'token digest', 'job 1', '{}');
INSERT INTO file_deletions (org_id, path) VALUES ($1, 'artifacts/$1/old');
INSERT INTO notices (org_id, webhook_id, event_id) SELECT $1, webhook_id, 'evt_1' FROM webhooks WHERE org_id = $1;
INSERT INTO recoveries (org_id, webhook_id, recovery_id, since, position)
    SELECT $1, webhook_id, 'rec_1', now(), '' FROM webhooks WHERE org_id = $1;
INSERT INTO shard_results (org_id, run_key, case_key, shard, event_time_offset_s, result)
    SELECT org_id, run_key, case_key, 1, 0, '{}' FROM results WHERE org_id = $1 ON CONFLICT DO NOTHING;
INSERT INTO idempotency_keys (org_id, api_key_id, method, path_sha256, key, request_sha256, status, body)
    VALUES ($1, 'key_1', 'POST', '', 'k', '', 202, '');
INSERT INTO artifact_usage (org_id, key_id, day, files, bytes) VALUES ($1, 'key_1', '2026-05-20', 1, 10);
INSERT INTO sessions (org_id, session_sha256, key_id, secret_sha256, expires_at)
    VALUES ($1, int4send($1), 'key_1', 'secret digest', now());
INSERT INTO members (org_id, member_id, email, role, created_by)
    VALUES ($1, 'mem_1', 'ada@example.org', 'admin', 'command line');
INSERT INTO people (org_id, person_id, issuer, subject) VALUES ($1, 'per_1', 'https://login.example.org', '1');
INSERT INTO quarantines (org_id, quarantine_id, project_id, name, reason, expires_at, created_by)
    VALUES ($1, 'qua_1', 'shop', '*', 'unstable', now(), 'key_1');
INSERT INTO case_states (org_id, case_key, project_id, environment, state) VALUES ($1, 1, 'shop', '', 'flaky');
INSERT INTO case_owners (org_id, case_key, owner, project_id) VALUES ($1, 1, '@acme/qa', 'shop') ON CONFLICT DO NOTHING;
INSERT INTO case_histories (org_id, project_id, environment, branch, newest_run, run_keys, document)
    SELECT org_id, 'shop', '', 'main', run_key, ARRAY[run_key], '' FROM runs WHERE org_id = $1 LIMIT 1;
INSERT INTO cost_days (org_id, project_id, start, is_month, runs, passed, failed, error, skipped, canceled, flaky,
                       attempts, unknown_durations, duration_ms, retry_ms)
    VALUES ($1, 'shop', '2026-05-20', false, 1, 1, 0, 0, 0, 0, 0, 1, 0, 5, 0);
INSERT INTO case_costs (org_id, project_id, start, case_key, passed, failed, error, skipped, canceled, flaky, attempts,
                        unknown_durations, duration_ms, retry_ms)
    VALUES ($1, 'shop', '2026-05-20', 1, 1, 0, 0, 0, 0, 0, 1, 0, 5, 0);
INSERT INTO job_costs (org_id, project_id, start, job, passed, failed, error, skipped, canceled, flaky,
                       attempts, unknown_durations, duration_ms, retry_ms)
    VALUES ($1, 'shop', '2026-05-20', 'unit', 1, 0, 0, 0, 0, 0, 1, 0, 5, 0);
INSERT INTO cost_changes (org_id, project_id, day) VALUES ($1, 'shop', '2026-05-20');
INSERT INTO state_positions (org_id, event_number) VALUES ($1, 1);
INSERT INTO failure_group_states (org_id, fingerprint, project_id, environments, opened_at, opened_run_id, last_run_id)
    VALUES ($1, 7, 'shop', '{""}', now(), 'run_1', 'run_1');
INSERT INTO digests (org_id, project_id, owner, week) VALUES ($1, 'shop', '', '2026-11-23');
INSERT INTO gates (org_id, name, policy) VALUES ($1, 'release', '{}');
INSERT INTO failure_tickets (org_id, fingerprint, ticket_url) VALUES ($1, 7, 'https://t/7');
INSERT INTO decisions (org_id, decision_id, project_id, run_id, revision, gate, gate_version, policy, decision, rules,
                       failures, digest)
    VALUES ($1, 'dec_1', 'shop', 'run_1', 1, 'release', 1, '{}', 'passed', '[]', '{}', '');
INSERT INTO excuses (org_id, excuse_id, project_id, run_id, document, digest, created_by)
    VALUES ($1, 'exc_1', 'shop', 'run_1', '{}', '', 'key_1');
INSERT INTO splits (org_id, project_id, key, pipeline, run_id, document, digest, created_by)
    VALUES ($1, 'shop', 'unit', 'github-1', '', '', '', 'key_1');
INSERT INTO split_assignments (org_id, receipt_id, key, project_id, pipeline, run_id, document)
    VALUES ($1, 'rcp_1', 'unit', 'shop', 'github-1', '', '')
"""


@asynccontextmanager
async def serving_organizations(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Run an API with two organizations that have rows in each table, and one file in each area of the storage."""
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as api:
        _, other_key = await api.make_organization("other")
        for slug, org_id, key in (("acme", OrgId(1), api.key), ("other", OTHER, other_key)):
            await fill(api, database_url, slug, org_id, key)
        yield api


async def fill(api: Api, database_url: str, slug: str, org_id: OrgId, key: str) -> None:
    hook = await api.send("POST", "/v1/webhooks", key=key, json={"url": "https://example.com/"})
    assert hook.status == 201, await hook.text()
    for number in range(3):
        event = run_event(f"run_{number}", [result("logs in"), FAILED], id=f"{slug} {number}")
        event["data"]["organization"] = slug
        assert [outcome.status for outcome in await api.store.ingest(event)] == ["stored"]
    for name in (f"artifacts/{org_id}/a/b", f"exports/{org_id}/exp_1/f", f"inbox/{org_id}/rcp_1/0"):
        async with api.resources.storage.open_writer(name) as file:
            await file.write(b"bytes")
    id_ = (await api.get("/v1/results", key=key))["data"][0]["id"]
    put = await api.http.put(
        f"/v1/results/{id_}/artifacts/log.txt", data=b"log", headers={"Authorization": f"Bearer {key}"}
    )
    assert put.status == 201, await put.text()
    superuser = await asyncpg.connect(database_url)
    await superuser.execute(ROWS.replace("$1", str(org_id)))
    await superuser.close()


async def row_counts(api: Api, org_id: OrgId) -> dict[str, int]:
    """Return the number of rows of the organization in every table with an org_id."""
    tables = [row["relname"] for row in await api.store.pool.fetch(TENANT_TABLES)]
    return {
        table: await api.store.pool.fetchval(f"SELECT count(*) FROM {table} WHERE org_id = $1", org_id)
        for table in tables
    }


def files(folder: Path, org_id: OrgId) -> list[Path]:
    return [path for path in folder.glob(f"*/{org_id}/**/*") if path.is_file()]
