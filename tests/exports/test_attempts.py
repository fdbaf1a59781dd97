"""Attempts of exports: retries, leases, crashes, and the order of organizations."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.domain.errors import Unavailable
from service.storage import FileWriter, Storage
from tests.exporting import Blocked, Exports, exporting, files
from tests.run_events import result, run_event


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        await opened.api.store.ingest(run_event("run_1", [result("a"), result("b", "failed")]))
        yield opened


class Full:
    """A storage that is full for the first `times` writes."""

    def __init__(self, storage: Storage, times: int) -> None:
        self._storage = storage
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def open_writer(self, *arguments: Any) -> Any:
        self._times -= 1
        if self._times >= 0:
            raise Unavailable("the file storage is full")
        return self._storage.open_writer(*arguments)


@pytest.fixture
def no_retry_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.exports.run_export.RETRY_DELAYS", (timedelta(0), timedelta(0)))


async def emitted_events(exports: Exports) -> list[tuple[str, Any]]:
    rows = await exports.api.store.pool.fetch("SELECT type, data::text FROM events WHERE type LIKE 'export.%'")
    return [(row["type"], orjson.loads(row["data"])["status"]) for row in rows]


@pytest.mark.usefixtures("no_retry_delays")
async def test_temporarily_full_storage_is_retried(exports: Exports) -> None:
    exports.exporter._storage = Full(exports.storage, times=2)  # type: ignore[assignment]
    queued = await exports.request()
    async with exports.running_worker():
        assert (await exports.finished(queued["id"]))["status"] == "succeeded"


@pytest.mark.usefixtures("no_retry_delays")
async def test_job_fails_with_a_readable_reason_after_three_attempts(exports: Exports) -> None:
    exports.exporter._storage = Full(exports.storage, times=9)  # type: ignore[assignment]
    queued = await exports.request()
    async with exports.running_worker():
        job = await exports.finished(queued["id"])
    assert (job["status"], job["error"], job["file_url"]) == ("failed", "the file storage is full", None)
    assert await emitted_events(exports) == [("export.failed", "failed")]
    assert exports.exporter._storage._times == 6  # type: ignore[attr-defined]


async def test_failed_attempt_releases_the_memory_of_its_file(exports: Exports) -> None:
    async def fail(*_: Any) -> None:
        async with asyncio.TaskGroup():
            raise Unavailable("the file storage is full")

    await exports.request()
    leased = await exports.exporter.lease(1)
    assert leased
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FileWriter, "write", fail)
        gc.disable()
        try:
            assert await exports.exporter.run(leased) == "queued"
            assert not [tracked for tracked in gc.get_objects() if isinstance(tracked, FileWriter)]
        finally:
            gc.enable()


async def test_stopped_worker_releases_its_job_without_counting_the_attempt(exports: Exports) -> None:
    storage, exports.exporter._storage = exports.storage, (gate := Blocked(exports.storage))  # type: ignore[assignment]
    queued = await exports.request()
    async with exports.running_worker():
        await asyncio.wait_for(gate.waiting.wait(), 10)
    assert (await exports.job(queued["id"]))["status"] == "queued"
    assert await exports.api.store.pool.fetchval("SELECT attempt_count FROM exports") == 0
    exports.exporter._storage = storage
    async with exports.running_worker():
        assert (await exports.finished(queued["id"]))["status"] == "succeeded"


async def test_crashed_attempt_uses_no_slot_of_its_organization(exports: Exports) -> None:
    await exports.request()
    await exports.request()
    assert await exports.exporter.lease(1)
    assert await exports.exporter.lease(1) is None
    await exports.api.store.pool.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    assert await exports.exporter.lease(1)


async def test_worker_with_an_expired_lease_writes_nothing(exports: Exports) -> None:
    queued = await exports.request()
    first = await exports.exporter.lease(2)
    assert first is not None
    assert await exports.exporter.lease(2) is None
    await exports.api.store.pool.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    async with exports.running_worker():
        job = await exports.finished(queued["id"])
    await exports.exporter.run(first)
    assert await exports.job(queued["id"]) == job
    await exports.file(job)


async def test_worker_with_an_expired_lease_does_not_finish_the_job_of_another(
    exports: Exports, tmp_path: Path
) -> None:
    queued = await exports.request()
    expired = await exports.exporter.lease(2)
    await exports.api.store.pool.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    current = await exports.exporter.lease(2)
    assert expired is not None
    assert current is not None
    assert await exports.exporter.run(expired) == "lost"
    assert (await exports.job(queued["id"]))["status"] == "running"
    assert files(exports, tmp_path) == []
    assert await exports.exporter.run(current) == "succeeded"


async def test_job_that_crashes_its_workers_fails(exports: Exports) -> None:
    queued = await exports.request()
    for _ in range(3):
        assert await exports.exporter.lease(2) is not None
        await exports.api.store.pool.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    assert await exports.exporter.lease(2) is None
    await exports.exporter.fail_abandoned()
    job = await exports.job(queued["id"])
    assert (job["status"], job["error"]) == ("failed", "a worker crashed in each of 3 attempts")


async def test_one_organization_does_not_delay_another(exports: Exports) -> None:
    _, key = await exports.api.make_organization("other")
    own = [(await exports.request())["id"] for _ in range(5)]
    other = (await exports.request(key=key))["id"]
    leased = [next_one.lease.task_id for _ in range(6) if (next_one := await exports.exporter.lease(2))]
    assert leased == [own[0], other, own[1]]
