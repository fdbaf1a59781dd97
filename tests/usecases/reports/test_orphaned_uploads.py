"""What killed processes leave of reports goes; what a report, a run or a producer still owns stays."""

import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from service.domain.ids import new_id
from service.settings import Settings
from service.storage import Storage
from service.usecases.reports import orphaned_uploads
from service.usecases.reports.orphaned_uploads import delete_orphaned_folders, delete_orphaned_uploads
from tests.api.served import serve
from tests.report_api import PASSING, Reports, new_ingester, running_ingester
from tests.run_events import run_event
from tests.storing import write


@pytest.fixture
async def reports(database_url: str, storage_url: str) -> AsyncIterator[Reports]:
    """An API with a worker that reads reports."""
    async with serve(database_url, artifacts_url=storage_url) as api:
        reports = Reports(api, Storage(storage_url))
        async with running_ingester(reports, new_ingester(Settings(artifacts_url=storage_url), api.store.pool)):
            yield reports


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is old enough."""
    monkeypatch.setattr(orphaned_uploads, "_LEFT_KEPT", timedelta(0))


async def inbox(reports: Reports) -> set[str]:
    return {path async for batch in reports.storage.list_older("inbox", timedelta(0)) for path in batch}


async def sweep(reports: Reports) -> set[str]:
    """What is in the inbox after it."""
    await delete_orphaned_uploads(reports.api.store.pool, reports.storage)
    return await inbox(reports)


async def set_status(reports: Reports, receipt: Any, status: str) -> None:
    await reports.api.store.pool.execute("UPDATE receipts SET status = $1 WHERE receipt_id = $2", status, receipt["id"])


async def test_files_of_stored_reports_stay_with_their_runs(reports: Reports, old: None) -> None:
    form = FormData()
    form.add_field("report", PASSING, filename="junit.xml", content_type="application/xml")
    form.add_field("file", b"bytes", filename="pay.png", content_type="image/png")
    await reports.take(form)
    kept = await inbox(reports)
    assert len(kept) == 2
    assert await sweep(reports) == kept
    await reports.api.store.pool.execute("DELETE FROM artifacts")
    assert await sweep(reports) == set()


@pytest.mark.parametrize("status", ["queued", "processing"])
async def test_a_report_that_waits_keeps_its_files_and_a_rejected_one_does_not(
    reports: Reports, old: None, status: str
) -> None:
    receipt = await reports.take(PASSING)
    await reports.api.store.pool.execute("DELETE FROM artifacts")
    await reports.api.store.pool.execute("UPDATE receipts SET lease_until = 'infinity', due_at = 'infinity'")
    kept = await inbox(reports)
    await set_status(reports, receipt, status)
    assert await sweep(reports) == kept
    await set_status(reports, receipt, "rejected")
    assert await sweep(reports) == set()


async def test_a_report_that_was_sent_again_keeps_the_files_that_came_then(reports: Reports, old: None) -> None:
    await reports.api.store.take(run_event("run_1", project_id="other"))
    rejected = await reports.take(PASSING)
    await write(reports.storage, left := f"inbox/1/{rejected['id']}/0", b"what a death has left")
    await reports.api.send("DELETE", "/v1/runs/run_1")
    stored = await reports.take(PASSING)
    assert (stored["id"], stored["status"]) == (rejected["id"], "stored")
    assert await sweep(reports) == await inbox(reports) - {left}
    assert len(await inbox(reports)) == 1


async def test_files_that_no_receipt_came_to_own_go_and_those_of_producers_stay(reports: Reports, old: None) -> None:
    await write(reports.storage, f"inbox/1/{new_id('rcp')}/0", b"of an upload that never ended")
    await write(reports.storage, "inbox/1/nightly.json", b"of a producer")
    await write(reports.storage, "inbox/1/batch/7/0", b"of a producer")
    assert await sweep(reports) == {"inbox/1/nightly.json", "inbox/1/batch/7/0"}


async def test_what_is_too_young_or_too_old_to_tell_stays(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    ninety_days_ago_ms = time.time_ns() // 1_000_000 - 90 * 24 * 3600 * 1000
    forgotten = f"inbox/1/rcp_{ninety_days_ago_ms:012x}{'0' * 20}/0"
    await write(reports.storage, young := f"inbox/1/{new_id('rcp')}/0", b"may still be on its way")
    await write(reports.storage, forgotten, b"perhaps an artifact")
    assert await sweep(reports) == {young, forgotten}
    monkeypatch.setattr(orphaned_uploads, "_LEFT_KEPT", timedelta(0))
    assert await sweep(reports) == {forgotten}


def test_folders_of_dead_workers_go_and_those_in_use_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphaned_uploads, "gettempdir", lambda: str(tmp_path))
    left, in_use, others = (tmp_path / name for name in ("zof-results-report-a", "zof-results-report-b", "other"))
    for folder in (left, in_use, others):
        folder.mkdir()
        (folder / "results").write_bytes(b"many")
    two_days_ago = time.time() - 2 * 24 * 3600
    for folder in (left, others):
        os.utime(folder, (two_days_ago, two_days_ago))
    delete_orphaned_folders()
    assert sorted(tmp_path.iterdir()) == sorted([in_use, others])
