"""Tests that reports of one organization don't use all slots of a worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from service.domain.ids import OrgId
from service.domain.reports import ReportLimits
from service.reports.parser_processes import ParserProcess
from service.reports.uploads import ReadUpload, ReportFile
from service.settings import Settings
from service.store.postgres import database
from service.usecases.reports.store_report import ReportStore
from tests.report_api import PASSING, TIMEOUT_S, Reports, new_ingester, running_ingester, serving_reports
from tests.stored import RETENTION

ENDLESS = b"<testsuite><testcase name='endless'/></testsuite>"
PER_ORGANIZATION = 2


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports(database_url, tmp_path) as opened:
        yield opened


class SlowParser(ParserProcess):
    """A parser that never finishes the endless report."""

    async def read(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
        if files[0].source.read_bytes() == ENDLESS:
            await asyncio.Event().wait()
        return await super().read(files, limits)


async def test_report_is_stored_while_those_of_another_organization_use_their_slots(
    reports: Reports, tmp_path: Path
) -> None:
    _, other_key = await reports.api.make_organization("other")
    settings, pool = Settings(artifacts_url=(tmp_path / "files").as_uri()), reports.api.store.pool
    parsers: list[ParserProcess] = [SlowParser() for _ in range(PER_ORGANIZATION + 1)]
    ingester = new_ingester(settings, pool, parsers, PER_ORGANIZATION)
    async with running_ingester(reports, ingester, ingester.slots):
        for number in range(2 * PER_ORGANIZATION):
            await reports.send(ENDLESS, f"run_{number}")
        async with asyncio.timeout(TIMEOUT_S):
            while await processing(pool) < PER_ORGANIZATION:
                pass
            for run_id in ("run_1", "run_2"):
                await is_stored(reports, run_id, other_key)
        assert await processing(pool) == PER_ORGANIZATION
    await ingester.close()


async def processing(pool: Any) -> int:
    """Return the number of reports in processing."""
    count: int = await pool.fetchval("SELECT count(*) FROM receipts WHERE status = 'processing'")
    return count


async def is_stored(reports: Reports, run_id: str, key: str) -> None:
    response = await reports.post(PASSING, run_id, key=key)
    receipt = await reports.api.get(f"/v1/receipts/{(await response.json())['id']}", {"wait": "20"}, key)
    assert receipt["status"] == "stored"


async def test_storage_slot_is_free_for_another_organization(database_url: str) -> None:
    async with AsyncExitStack() as opened:
        pool = await database.open_pool(database_url, "results_worker", 3 * (PER_ORGANIZATION + 1))
        opened.push_async_callback(database.close_pool, pool)
        store = ReportStore(pool, RETENTION, "http://results")
        for _ in range(PER_ORGANIZATION):
            await opened.enter_async_context(store.slot(OrgId(1)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(opened.enter_async_context(store.slot(OrgId(1))), 0.05)
        await asyncio.wait_for(opened.enter_async_context(store.slot(OrgId(2))), TIMEOUT_S)
