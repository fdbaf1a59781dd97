"""The caches of ingest after a failover or restore, which can remove committed cases and organizations."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.cases import store as cases_store
from service.cases.store import prevent_replacement
from service.domain.ids import OrgId
from service.ingest import store_batch
from service.ingest.new_cases import IngestCaches, insert_unseen_cases
from service.organizations import store as organizations_store
from service.reports import ingest_reports
from service.settings import Settings
from tests.conftest import _SERVERS
from tests.databases import cloned_database
from tests.report_api import PASSING, new_ingester, running_ingester, serving_reports
from tests.run_events import result, run_event
from tests.served import Api, serve
from tests.stored import Store


@pytest.fixture
def promoted_url(postgres_url: str, pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a database that lost the last transactions of the other database, like a promoted standby."""
    with cloned_database(postgres_url, pytestconfig.stash[_SERVERS].template) as url:
        yield url


async def restore_old_backup(database_url: str) -> None:
    """Replace the content of the tables by that of a backup from before the first event."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("TRUNCATE runs, cases, results, result_details, receipts, events")
    await connection.close()


async def names(api: Api, run_id: str) -> list[str]:
    return [item["name"] for item in await api.list_all("/v1/results", {"run_id": run_id})]


async def test_each_batch_reads_the_version_of_the_cases_of_its_organization(store: Store) -> None:
    """Another batch can have found the organization, with an earlier version."""
    caches = IngestCaches()
    async with store.pool.acquire() as connection:
        first, second = await caches.find(connection), await caches.find(connection)
        await first.find_organization(connection, "acme")
        await connection.execute("UPDATE organizations SET cases_version = 7")
        await second.find_organization(connection, "acme")
        third = await caches.find(connection)
    assert [batch.versions for batch in (first, second, third)] == [{1: (0, 0)}, {1: (7, 0)}, {1: (7, 0)}]
    assert [batch.known_cases(OrgId(1)).scope for batch in (first, second)] == ["1 0 0", "1 7 0"]


async def test_results_after_a_restore_are_listed(database_url: str) -> None:
    async with serve(database_url) as api:
        await api.store.ingest(run_event("run_1", [result("pays")]))
        await restore_old_backup(database_url)
        await api.store.ingest(run_event("run_2", [result("pays")]))
        assert await names(api, "run_2") == ["pays"]


@pytest.mark.one_server
async def test_results_of_a_batch_in_progress_during_a_restore_are_listed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restore_once(*arguments: Any) -> None:
        monkeypatch.setattr(store_batch, "insert_unseen_cases", insert_unseen_cases)
        await restore_old_backup(database_url)
        await insert_unseen_cases(*arguments)

    async with serve(database_url) as api:
        await api.store.ingest(run_event("run_1", [result("pays")]))
        monkeypatch.setattr(store_batch, "insert_unseen_cases", restore_once)
        [outcome] = await api.store.ingest(run_event("run_2", [result("pays"), result("new")]))
        assert outcome.status == "stored"
        assert sorted(await names(api, "run_2")) == ["new", "pays"]


@pytest.mark.one_server
async def test_results_of_a_report_in_progress_during_a_restore_are_listed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restore_once(*arguments: Any) -> None:
        monkeypatch.setattr(cases_store, "prevent_replacement", prevent_replacement)
        superuser = await asyncpg.connect(database_url)
        await superuser.execute("TRUNCATE runs, cases, results, result_details")
        await superuser.close()
        await prevent_replacement(*arguments)

    monkeypatch.setattr(ingest_reports, "_CONFLICT_WAIT", timedelta(0))
    async with serving_reports(database_url, tmp_path) as reports:
        settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
        async with running_ingester(reports, new_ingester(settings, reports.api.store.pool)):
            await reports.ingest(PASSING, "run_1")
            monkeypatch.setattr(cases_store, "prevent_replacement", restore_once)
            await reports.ingest(PASSING, "run_2")
        assert sorted(await names(reports.api, "run_2")) == ["pays", "ships"]


async def test_results_of_a_report_after_a_restore_are_listed(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
        async with running_ingester(reports, new_ingester(settings, reports.api.store.pool)):
            await reports.ingest(PASSING, "run_1")
            await restore_old_backup(database_url)
            await reports.ingest(PASSING, "run_2")
        assert sorted(await names(reports.api, "run_2")) == ["pays", "ships"]


async def test_results_after_a_failover_belong_to_the_organization_of_the_new_server(
    database_url: str, promoted_url: str
) -> None:
    async with serve(database_url) as api:
        await api.store.ingest(run_event("run_1", [result("pays")]))
        new = await asyncpg.create_pool(promoted_url, min_size=0, server_settings={"role": "results_worker"})
        async with new:
            for slug in ("other", "acme"):
                await organizations_store.create(new, slug, slug)  # type: ignore[arg-type]
            api.store.pool.set_connect_args(promoted_url, server_settings={"role": "results_worker"})
            await api.store.pool.expire_connections()
            [outcome] = await api.store.ingest(run_event("run_2", [result("pays")]))
            rows = await new.fetch(
                "SELECT o.slug, c.name FROM results JOIN cases c USING (org_id, case_key)"
                " JOIN organizations o USING (org_id)"
            )
    assert outcome.status == "stored"
    assert [tuple(row) for row in rows] == [("acme", "pays")]
