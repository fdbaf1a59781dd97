"""The cleanup deletes orphaned uploads and keeps the files of reports, runs, and producers."""

import os
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from service.database.database import Connection
from service.domain.ids import new_id
from service.retention import files
from service.retention import store as retention_store
from service.retention.expiry import ClocksDiffer
from service.retention.files import delete_orphaned_files, delete_orphaned_folders
from service.settings import Settings
from service.storage import Storage
from tests.report_api import PASSING, Reports, new_ingester, running_ingester
from tests.run_events import run_event
from tests.served import serve
from tests.stored import Store
from tests.storing import write


@pytest.fixture
async def reports(database_url: str, storage_url: str) -> AsyncIterator[Reports]:
    """An API with a worker that ingests reports."""
    async with serve(database_url, artifacts_url=storage_url) as api:
        reports = Reports(api, Storage(storage_url))
        async with running_ingester(reports, new_ingester(Settings(artifacts_url=storage_url), api.store.pool)):
            yield reports


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is old enough to be deleted."""
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    monkeypatch.setattr(files, "_COMMIT_S", 0.0)


async def inbox(reports: Reports) -> set[str]:
    return {path async for batch in reports.storage.list_all("inbox") for path in batch}


async def clean_up(reports: Reports) -> set[str]:
    """Delete orphaned uploads, and return the paths that remain in the inbox."""
    await delete_orphaned_files(reports.api.store.pool, reports.storage)
    return await inbox(reports)


async def set_status(reports: Reports, receipt: Any, status: str) -> None:
    await reports.api.store.pool.execute("UPDATE receipts SET status = $1 WHERE receipt_id = $2", status, receipt["id"])


async def test_files_of_stored_reports_are_not_deleted_while_their_runs_use_them(reports: Reports, old: None) -> None:
    form = FormData()
    form.add_field("report", PASSING, filename="junit.xml", content_type="application/xml")
    form.add_field("file", b"bytes", filename="pay.png", content_type="image/png")
    await reports.ingest(form)
    remaining = await inbox(reports)
    assert len(remaining) == 2
    assert await clean_up(reports) == remaining
    await reports.api.store.pool.execute("DELETE FROM artifacts")
    assert await clean_up(reports) == set()


@pytest.mark.parametrize("status", ["queued", "processing"])
async def test_files_of_pending_reports_stay_and_those_of_rejected_reports_are_deleted(
    reports: Reports, old: None, status: str
) -> None:
    receipt = await reports.ingest(PASSING)
    await reports.api.store.pool.execute("DELETE FROM artifacts")
    await reports.api.store.pool.execute("UPDATE receipts SET lease_until = 'infinity', due_at = 'infinity'")
    remaining = await inbox(reports)
    await set_status(reports, receipt, status)
    assert await clean_up(reports) == remaining
    await set_status(reports, receipt, "rejected")
    assert await clean_up(reports) == set()


async def test_resent_report_keeps_only_its_new_files(reports: Reports, old: None) -> None:
    await reports.api.store.ingest(run_event("run_1", project_id="other"))
    rejected = await reports.ingest(PASSING)
    await write(reports.storage, orphaned := f"inbox/1/{rejected['id']}/0", b"of a crashed process")
    await reports.api.send("DELETE", "/v1/runs/run_1")
    stored = await reports.ingest(PASSING)
    assert (stored["id"], stored["status"]) == (rejected["id"], "stored")
    assert await clean_up(reports) == await inbox(reports) - {orphaned}
    assert len(await inbox(reports)) == 1


async def test_files_without_a_receipt_are_deleted_and_those_of_producers_stay(reports: Reports, old: None) -> None:
    await write(reports.storage, f"inbox/1/{new_id('rcp')}/0", b"of an unfinished upload")
    await write(reports.storage, "inbox/1/nightly.json", b"of a producer")
    await write(reports.storage, "inbox/1/batch/7/0", b"of a producer")
    assert await clean_up(reports) == {"inbox/1/nightly.json", "inbox/1/batch/7/0"}


async def test_files_that_are_too_new_or_too_old_are_not_deleted(
    reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    ninety_days_ago_ms = time.time_ns() // 1_000_000 - 90 * 24 * 3600 * 1000
    too_old = f"inbox/1/rcp_{ninety_days_ago_ms:012x}{'0' * 20}/0"
    await write(reports.storage, too_new := f"inbox/1/{new_id('rcp')}/0", b"might belong to a running upload")
    await write(reports.storage, too_old, b"might be an artifact")
    assert await clean_up(reports) == {too_new, too_old}
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    monkeypatch.setattr(files, "_COMMIT_S", 0.0)
    assert await clean_up(reports) == {too_old}


async def test_nothing_is_deleted_while_the_clocks_differ(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose clock is two days fast considers the file of a running upload abandoned."""
    read_clock = retention_store.read_clock

    async def read_wrong_clock(connection: Connection) -> datetime:
        return await read_clock(connection) - timedelta(days=2)

    monkeypatch.setattr(retention_store, "read_clock", read_wrong_clock)
    monkeypatch.setattr(files, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    folder, storage = tmp_path / "zof-results-report-a", Storage((tmp_path / "files").as_uri())
    folder.mkdir()
    await write(storage, path := f"inbox/1/{new_id('rcp')}/0", b"of a running upload")
    with pytest.raises(ClocksDiffer):
        await delete_orphaned_files(store.pool, storage)
    with pytest.raises(ClocksDiffer):
        await delete_orphaned_folders(store.pool)
    assert folder.exists()
    assert await storage.size(path) > 0


async def test_folders_of_crashed_workers_are_deleted_and_those_in_use_stay(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "gettempdir", lambda: str(tmp_path))
    orphaned, in_use, others = (tmp_path / name for name in ("zof-results-report-a", "zof-results-report-b", "other"))
    for folder in (orphaned, in_use, others):
        folder.mkdir()
        (folder / "results").write_bytes(b"many")
    two_days_ago = time.time() - 2 * 24 * 3600
    for folder in (orphaned, others):
        os.utime(folder, (two_days_ago, two_days_ago))
    await delete_orphaned_folders(store.pool)
    assert not orphaned.exists()
    assert in_use.exists()
    assert others.exists()
