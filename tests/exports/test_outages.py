"""An outage of the database never fails an export permanently, regardless of its kind and number."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from service.database import asyncpg_internals, database
from service.domain.errors import Unavailable
from service.exports import readers
from service.exports import store as exports_store
from service.exports.model import MAX_ATTEMPTS
from service.exports.run_export import Exporter
from service.exports.store import LeasedExport
from service.exports.write_export import ExportWriter
from service.processes import open_storage
from service.settings import Settings
from service.storage import FileWriter, Storage
from service.tasks import leases
from service.tasks.leases import DatabaseContact
from service.tasks.workers import WorkerUnavailable
from tests.exporting import STRATEGY
from tests.proxies import UnreliableProxy
from tests.run_events import result, run_event
from tests.stored import Store

pytestmark = pytest.mark.slow

EXPORT = "exp_1"
OUTAGES = MAX_ATTEMPTS + 1
ERRORS: list[Exception] = [
    TimeoutError(),
    ConnectionResetError(),
    asyncpg.InterfaceError("the connection is closed"),
    asyncpg.InternalClientError("got result for unknown protocol state"),
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.ReadOnlySQLTransactionError("cannot execute UPDATE in a read-only transaction"),
    asyncpg.UndefinedObjectError("snapshot does not exist"),
    asyncpg.QueryCanceledError("canceling statement due to conflict with recovery"),
    asyncpg.SerializationError("could not serialize access"),
]


class FailingFile:
    """Calls `fail` before each write."""

    def __init__(self, file: FileWriter, fail: Callable[[], object]) -> None:
        self._file = file
        self._fail = fail

    async def write(self, data: bytes) -> None:
        self._fail()
        await asyncio.sleep(0.05)  # the readers notice the failure
        await self._file.write(data)


class FailingStorage:
    """Calls `fail` while the rows of an export are read."""

    def __init__(self, storage: Storage, fail: Callable[[], object]) -> None:
        self._storage = storage
        self._fail = fail

    @asynccontextmanager
    async def open_writer(self, *arguments: Any) -> AsyncIterator[Any]:
        async with self._storage.open_writer(*arguments) as file:
            yield FailingFile(file, self._fail)


async def request_again(store: Store) -> None:
    """Insert the export, or set that it is due."""
    await store.pool.execute(
        "INSERT INTO exports (org_id, export_id, request) VALUES (1, $1, $2) ON CONFLICT (org_id, export_id) "
        "DO UPDATE SET due_at = now()", EXPORT, {"format": "csv"},
    )  # fmt: skip


async def state(store: Store) -> tuple[str, int]:
    row = await store.pool.fetchrow("SELECT status, attempt_count FROM exports")
    assert row is not None
    return row["status"], row["attempt_count"]


async def leased_by(exporter: Exporter) -> LeasedExport:
    leased = await exporter.lease(1)
    assert leased is not None
    return leased


@asynccontextmanager
async def open_exporter(
    store: Store, tmp_path: Path, url: str, worker_url: str | None = None, takeover_after: timedelta = timedelta(0)
) -> AsyncIterator[Exporter]:
    """Provide an exporter that reads rows with `url`, and tasks with `worker_url` or the pool of the store."""
    rows = await database.open_pool(url, "results_api", STRATEGY.readers)
    worker = await database.open_pool(worker_url, "results_worker", 2) if worker_url else store.pool
    storage = open_storage(Settings(artifacts_url=tmp_path.as_uri()))
    try:
        yield Exporter(worker, ExportWriter(rows, url, STRATEGY), storage, "http://results.test", takeover_after)
    finally:
        rows.terminate()
        if worker_url:
            worker.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_no_number_of_outages_fails_an_export(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object) -> None:
        raise error

    async with open_exporter(store, tmp_path, database_url) as exporter:
        with monkeypatch.context() as patched:
            patched.setattr(ExportWriter, "write", fail)
            for _ in range(OUTAGES):
                await request_again(store)
                assert await exporter.run(await leased_by(exporter)) == "queued"
        await request_again(store)
        assert await exporter.run(await leased_by(exporter)) == "succeeded"
        assert await state(store) == ("succeeded", 1)


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [
        (asyncpg.InternalClientError("cannot switch to state 18"), False),
        (Unavailable("the file storage is full"), False),
        (ZeroDivisionError(), True),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_log_contains_the_traceback_of_an_unexpected_error_only(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception,
    has_traceback: bool,
) -> None:  # fmt: skip
    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ExportWriter, "write", fail)
    async with open_exporter(store, tmp_path, database_url) as exporter:
        await request_again(store)
        with capture_logs() as logs:
            assert await exporter.run(await leased_by(exporter)) == "queued"
    [line] = [line for line in logs if line["event"] == "export_failed"]
    assert (line["error"], bool(line["exc_info"])) == (repr(error), has_traceback)


def close(proxy: UnreliableProxy) -> None:
    proxy.close_connections()


def reject(proxy: UnreliableProxy) -> None:
    proxy.close_connections(reset=True)
    proxy.rejects_connections = True


def stall(proxy: UnreliableProxy) -> None:
    proxy.stall_connections()


@pytest.mark.slow
@pytest.mark.parametrize("fail", [close, reject, stall])
async def test_no_failure_of_the_connections_fails_an_export(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[UnreliableProxy], None],
) -> None:  # fmt: skip
    monkeypatch.setattr(readers, "_STALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(asyncpg_internals, "_CANCEL_TIMEOUT_S", 0.1)
    for number in range(10):
        await store.ingest(run_event(f"run_{number}", [result(f"case {index}") for index in range(10)]))
    async with UnreliableProxy(database_url) as proxy, open_exporter(store, tmp_path, proxy.url) as exporter:
        storage = exporter._storage
        exporter._storage = FailingStorage(storage, partial(fail, proxy))  # type: ignore[assignment]
        for _ in range(OUTAGES):
            await request_again(store)
            assert await asyncio.wait_for(exporter.run(await leased_by(exporter)), 10) == "queued"
            assert await state(store) == ("queued", 0)
            proxy.resume()
        exporter._storage = storage
        await request_again(store)
        assert await exporter.run(await leased_by(exporter)) == "succeeded"


async def test_export_waits_while_the_worker_of_its_organization_does_not_respond(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise WorkerUnavailable

    async with open_exporter(store, tmp_path, database_url) as exporter:
        await request_again(store)
        with monkeypatch.context() as patched:
            patched.setattr(exporter._checks, "while_available", refuse)
            assert await exporter.run(await leased_by(exporter)) == "queued"
        assert await state(store) == ("queued", 0)


async def test_outcome_is_recorded_after_the_outage(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with UnreliableProxy(database_url) as proxy:

        async def lose_database(*_: object) -> None:
            reject(proxy)
            raise ConnectionResetError

        async with open_exporter(store, tmp_path, database_url, proxy.url) as exporter:
            monkeypatch.setattr(ExportWriter, "write", lose_database)
            await request_again(store)
            running = asyncio.create_task(exporter.run(await leased_by(exporter)))
            await asyncio.wait({running}, timeout=1)
            assert not running.done()
            proxy.resume()
            assert await running == "queued"
            assert await state(store) == ("queued", 0)


async def test_lease_whose_response_is_lost_is_not_an_attempt(
    store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = exports_store.lease

    async def lose_response(*arguments: Any, **options: Any) -> None:
        await lease(*arguments, **options)
        raise ConnectionResetError

    async def refuse(*_: object) -> None:
        raise WorkerUnavailable

    async with open_exporter(store, tmp_path, database_url) as exporter:
        await request_again(store)
        with monkeypatch.context() as patched:
            patched.setattr(exports_store, "lease", lose_response)
            for _ in range(OUTAGES):
                with pytest.raises(ConnectionResetError):
                    await exporter.lease(1)
        assert (await leased_by(exporter)).attempt_count == 1


async def test_worker_that_just_reached_the_database_takes_over_no_job(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    await request_again(store)
    expire = f"UPDATE exports SET lease_until = now() - interval '1 s', attempt_count = {MAX_ATTEMPTS}"
    async with (
        open_exporter(store, tmp_path, database_url) as first,
        open_exporter(store, tmp_path, database_url, takeover_after=timedelta(seconds=0.2)) as second,
    ):
        await leased_by(first)
        await store.pool.execute(expire + " - 1")
        assert await second.lease(1) is None
        await asyncio.sleep(0.3)
        assert await second.lease(1) is None  # records that the contact has lasted
        assert await second.lease(1) is not None
    await store.pool.execute(expire)
    async with open_exporter(store, tmp_path, database_url, takeover_after=timedelta(seconds=0.2)) as upkeep:
        await upkeep.fail_abandoned()
        assert (await state(store))[0] == "running"
        await asyncio.sleep(0.3)
        await upkeep.fail_abandoned()
        assert (await state(store))[0] == "failed"


def test_gap_restarts_the_contact(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1000.0, 1015.0, 1030.0, 1051.0])
    monkeypatch.setattr(leases, "monotonic", lambda: next(times))
    contact = DatabaseContact()
    for _ in range(3):
        contact.record()
    assert contact.has_lasted(timedelta(seconds=30))
    contact.record()
    assert not contact.has_lasted(timedelta(seconds=1))
