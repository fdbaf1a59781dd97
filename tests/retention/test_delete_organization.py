"""Deletion of an organization: all rows of all tables, all files, and the caches of running consumers."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.cases import store as cases_store
from service.cases.model import Case
from service.database import database
from service.database.database import as_owner
from service.domain.errors import NotFound
from service.domain.ids import CaseKey
from service.retention import delete_organization, organization_store
from service.storage import Storage
from tests.retention.filled_organizations import FAILED, OTHER, files, row_counts, serving_organizations
from tests.run_events import result, run_event
from tests.served import Api


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delete_organization, "_KEY_CACHE_S", 0.0)


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving_organizations(database_url, tmp_path) as api:
        yield api


async def delete(database_url: str, storage: Storage, slug: str = "acme") -> None:
    pool = await database.open_pool(database_url, "results_worker", 1)
    try:
        async with as_owner(database_url) as owner, pool.acquire() as worker:
            await delete_organization.OrganizationDeletion(worker, owner, storage).run(slug)
    finally:
        await database.close_pool(pool)


async def test_deletion_leaves_no_row_and_no_file_of_the_organization(
    api: Api, database_url: str, tmp_path: Path
) -> None:
    before = await row_counts(api, OTHER)
    assert [table for table, count in (await row_counts(api, api.org_id)).items() if not count] == []
    assert len(files(tmp_path, api.org_id)) == len(files(tmp_path, OTHER)) == 4
    await delete(database_url, api.resources.storage)
    assert {table: count for table, count in (await row_counts(api, api.org_id)).items() if count} == {}
    assert files(tmp_path, api.org_id) == []
    assert await row_counts(api, OTHER) == before
    assert len(files(tmp_path, OTHER)) == 4
    with pytest.raises(NotFound):
        await delete(database_url, api.resources.storage)


@pytest.mark.one_server
async def test_tables_and_partitions_that_are_added_later_are_included(api: Api, database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute("CREATE TABLE added (org_id int REFERENCES organizations, PRIMARY KEY (org_id))")
        await owner.execute("INSERT INTO added VALUES (1), (2); GRANT SELECT, DELETE ON added TO results_worker")
        partition = await owner.fetchval("SELECT tableoid::regclass::text FROM results LIMIT 1")
        await owner.execute(f"ALTER TABLE results DETACH PARTITION {partition}")
        await delete(database_url, api.resources.storage)
        assert await owner.fetchval("SELECT array_agg(org_id) FROM added") == [2]
        assert await owner.fetchval(f"SELECT array_agg(DISTINCT org_id) FROM {partition}") == [2]
    finally:
        await owner.close()


async def test_running_consumer_rejects_later_events_of_a_deleted_organization(api: Api, database_url: str) -> None:
    """The consumer has cached the organization and its cases."""
    await delete(database_url, api.resources.storage)
    other = run_event("later", [result("logs in")])
    other["data"]["organization"] = "other"
    outcomes = await api.store.ingest(run_event("late", [result("logs in"), FAILED], id="late"), other)
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [
        ("rejected", "unknown_organization"), ("stored", None),
    ]  # fmt: skip
    assert not any((await row_counts(api, api.org_id)).values())


async def test_running_consumer_stores_no_case_of_a_deleted_organization(api: Api, database_url: str) -> None:
    await delete(database_url, api.resources.storage)
    (outcome,) = await api.store.ingest(run_event("late", [result("is new")], id="late"))
    assert (outcome.status, outcome.reason) == ("rejected", "unknown_organization")
    assert not any((await row_counts(api, api.org_id)).values())


async def test_organization_with_the_same_slug_gets_only_its_own_events(api: Api, database_url: str) -> None:
    await delete(database_url, api.resources.storage)
    new_id, key = await api.make_organization("acme")
    (outcome,) = await api.store.ingest(run_event("new", [result("logs in")], id="new"))
    assert outcome.status == "stored"
    assert [run["run_id"] for run in (await api.get("/v1/runs", key=key))["data"]] == ["new"]
    assert (await row_counts(api, new_id))["cases"] == 1


async def test_transaction_in_progress_does_not_restore_rows(api: Api, database_url: str) -> None:
    async with api.store.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await cases_store.insert_unseen(
            connection, {(api.org_id, CaseKey(7)): Case("p", None, "", "n", 0, None)}, set()
        )
        deleting = asyncio.create_task(delete(database_url, api.resources.storage))
        await asyncio.wait({deleting}, timeout=1)
        assert not deleting.done()
        await transaction.commit()
    await deleting
    assert not any((await row_counts(api, api.org_id)).values())


@pytest.mark.parametrize("step", [0, 1, 5, 12, 20])
async def test_interrupted_deletion_is_continued(
    api: Api, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    delete_some, remaining = organization_store.delete_some, step

    async def interrupt(*arguments: Any) -> int:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
            raise asyncpg.ConnectionDoesNotExistError
        return await delete_some(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(organization_store, "delete_some", interrupt)
        patch.setattr(delete_organization, "_MAX_ROWS", 1)
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await delete(database_url, api.resources.storage)
    assert (await row_counts(api, api.org_id))["api_keys"] == 0
    fresh = run_event("fresh", [result("logs in")], id="fresh")
    store = api.store.run_ingest._store
    store._caches = type(store._caches)()
    assert [outcome.reason for outcome in await api.store.ingest(fresh)] == ["unknown_organization"]
    await delete(database_url, api.resources.storage)
    assert not any((await row_counts(api, api.org_id)).values())
    assert files(tmp_path, api.org_id) == []


@pytest.mark.slow
async def test_killed_deletion_is_continued(api: Api, database_url: str, tmp_path: Path) -> None:
    settings = {"RESULTS_DATABASE_URL": database_url, "RESULTS_ARTIFACTS_URL": tmp_path.as_uri()}
    command = (sys.executable, "-m", "service", "organizations", "delete", "acme", "--confirm", "acme")
    async with api.store.pool.acquire() as connection, connection.transaction():
        # The process can need longer than the limit of 10 s to start.
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute("SELECT FROM cases WHERE org_id = 1 FOR UPDATE")  # the deletion waits for these rows
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **settings})
        async with asyncio.timeout(60):
            while (await row_counts(api, api.org_id))["results"]:  # noqa: ASYNC110 - polls another process
                await asyncio.sleep(0.05)
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        remaining = await row_counts(api, api.org_id)
    assert (remaining["api_keys"], remaining["results"]) == (0, 0)
    assert remaining["cases"] > 0
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **settings})
    assert await process.wait() == 0
    assert not any((await row_counts(api, api.org_id)).values())
    assert files(tmp_path, api.org_id) == []
    assert all((await row_counts(api, OTHER)).values())
