"""Tests that reports of one organization, or of strangers, don't use all slots of a worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from service.database import database
from service.domain.ids import OrgId
from service.reports import ingest_reports
from service.reports.conversion.processes import ParserProcess
from service.reports.conversion.uploads import ReadUpload, ReportFile
from service.reports.model import UNTRUSTED_LIMITS, ReportLimits
from service.reports.store_report import ReportStore
from service.settings import Settings
from tests.report_api import PASSING, TIMEOUT_S, Reports, new_ingester, running_ingester, serving_reports
from tests.stored import RETENTION

ENDLESS = b"<testsuite><testcase name='endless'/></testsuite>"
PER_ORGANIZATION = 2
QUEUED = """
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status, run_id, project_id, upload, due_at)
SELECT org_id, 'rcp_' || $1, 'upload', $1, '', 'queued', $1, 'shop', '{"version": 1, "reports": [], "run": {}}', now()
FROM unnest($2::int[]) AS org_id
"""


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


async def make_public_key(reports: Reports) -> str:
    await is_stored(reports, "run_0", reports.api.key)
    await reports.api.send("PATCH", "/v1/projects/shop", json={"untrusted_uploads": True})
    return (await reports.api.make_key("public", project_id="shop")).key


@pytest.mark.parametrize("per_organization", [2, 4])
async def test_slow_untrusted_reports_leave_a_slot_for_trusted_ones(
    reports: Reports, tmp_path: Path, per_organization: int
) -> None:
    settings, pool = Settings(artifacts_url=(tmp_path / "files").as_uri()), reports.api.store.pool
    parsers: list[ParserProcess] = [SlowParser() for _ in range(per_organization + 1)]
    ingester = new_ingester(settings, pool, parsers, per_organization)
    async with running_ingester(reports, ingester, ingester.slots):
        key = await make_public_key(reports)
        for number in range(2 * per_organization):
            assert (await reports.post(ENDLESS, f"untrusted:{number}", key=key)).status == 202
        async with asyncio.timeout(TIMEOUT_S):
            while await processing(pool) < per_organization - 1:
                pass
            for run_id in ("run_1", "run_2"):
                await is_stored(reports, run_id, reports.api.key)
        assert await processing(pool) == per_organization - 1
    await ingester.close()


async def test_untrusted_reports_of_several_organizations_leave_a_slot_of_the_process(reports: Reports) -> None:
    pool = reports.api.store.pool
    ingester = new_ingester(Settings(), pool, [], PER_ORGANIZATION)
    one, two, three, four = [(await reports.api.make_organization(slug))[0] for slug in "abcd"]

    async def queue_and_lease(run_id: str, *org_ids: int) -> list[int]:
        await pool.execute(QUEUED, run_id, org_ids)
        leased = [await ingester.lease() for _ in org_ids]
        return [report.lease.org_id for report in leased if report]

    assert len(await queue_and_lease("untrusted:a", one, two, three)) == PER_ORGANIZATION
    assert await queue_and_lease("run_1", four) == [four]


async def test_slow_untrusted_report_is_rejected_with_its_limit(
    reports: Reports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trusted report has more time, also if an untrusted one has used the only slot of the organization before."""
    assert UNTRUSTED_LIMITS.parsing_s == 60 < ReportLimits().parsing_s
    monkeypatch.setattr(ingest_reports, "UNTRUSTED_LIMITS", UNTRUSTED_LIMITS._replace(parsing_s=0.5))
    settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
    ingester = new_ingester(settings, reports.api.store.pool, [SlowParser()], 1)
    async with running_ingester(reports, ingester, ingester.slots):
        key = await make_public_key(reports)
        sent = await (await reports.post(ENDLESS, "untrusted:a", key=key)).json()
        await is_stored(reports, "run_1", reports.api.key)
        receipt = await reports.api.get(f"/v1/receipts/{sent['id']}", {"wait": "20"}, key)
    reason = "too_large: the upload couldn't be parsed within 0.5 s, the limit of untrusted uploads."
    assert [problem["reason"] for problem in receipt["problems"]] == [f"{reason} Split it into several uploads"]
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
