"""Tests of reports after failures: of a parser process, a worker, the storage, or the database."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumers.broker import BrokerTask, run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.relay import Relay
from consumers.tasks import TaskRunner
from service.database import database
from service.database.database import as_owner
from service.domain.errors import Unavailable
from service.reports import ingest_reports
from service.reports.conversion.processes import ParserProcess
from service.reports.conversion.uploads import ReadUpload, ReportFile
from service.reports.ingest_reports import ReportIngester
from service.reports.model import MAX_ATTEMPTS, ReportLimits
from service.reports.store import LeasedReport
from service.settings import Settings
from service.storage import Storage
from service.tasks.model import REPORTS
from service.tasks.workers import WorkerUnavailable
from tests.buckets import create_bucket, delete_bucket, new_bucket
from tests.fixtures.broker import Broker, isolation, until
from tests.report_api import PASSING, Reports, new_ingester, running_ingester, serving_reports
from tests.run_events import run_event
from tests.storing import write


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports(database_url, tmp_path) as opened:
        yield opened


class UnavailableStorage(Storage):
    """Storage that raises Unavailable while `is_unavailable` is set."""

    is_unavailable = False
    fails_after_read = False

    async def read(self, *arguments: Any) -> AsyncIterator[bytes]:
        self._fail_if_unavailable()
        self.is_unavailable = self.fails_after_read
        return await super().read(*arguments)

    async def delete(self, path: str) -> None:
        self._fail_if_unavailable()
        await super().delete(path)

    def _fail_if_unavailable(self) -> None:
        if self.is_unavailable:
            raise Unavailable("the file storage is unavailable")


@pytest.fixture
def storage(tmp_path: Path) -> UnavailableStorage:
    return UnavailableStorage((tmp_path / "files").as_uri())


@pytest.fixture
def ingester(reports: Reports, storage: UnavailableStorage) -> ReportIngester:
    return new_ingester(Settings(artifacts_url=storage.url), reports.api.store.pool, storage=storage)


class CrashingParser(ParserProcess):
    """A parser whose process is killed by its first `crashes` reports after it has parsed them."""

    def __init__(self, crashes: int) -> None:
        super().__init__()
        self._crashes = crashes

    async def read(self, files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
        read = await super().read(files, limits)
        if self._crashes:
            self._crashes -= 1
            assert self._child is not None
            self._child.process.kill()
            return await super().read(files, limits)
        return read


async def lease(ingester: ReportIngester) -> LeasedReport:
    leased = await ingester.lease()
    assert leased is not None
    return leased


async def expire_leases(reports: Reports) -> None:
    await reports.api.store.pool.execute("UPDATE receipts SET lease_until = now() - interval '1 s'")


@asynccontextmanager
async def ingesting_from_broker(reports: Reports, broker: Broker, ingester: ReportIngester) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    runner = TaskRunner[LeasedReport]("reports", ingester.lease, ingester.ingest, 2, stopping)
    consumer = BatchConsumer(
        broker.topology, broker.topology.queue(REPORTS), runner.handle, isolation(reports.api.store), stopping
    )
    tasks: list[BrokerTask] = [consumer, Relay(reports.api.store.pool, broker.topology, stopping)]
    async with asyncio.TaskGroup() as group:
        group.create_task(run_on_broker(broker.url, broker.topology, tasks, stopping))
        group.create_task(runner.run())
        try:
            yield
        finally:
            stopping.set()


async def test_report_is_ingested_as_soon_as_its_message_arrives(
    reports: Reports, broker: Broker, ingester: ReportIngester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.tasks._POLL_S", 3600.0)
    async with ingesting_from_broker(reports, broker, ingester):
        await reports.ingest(PASSING, "run_0")
        receipt = await reports.ingest(PASSING)
    assert receipt["status"] == "stored"


async def test_report_of_a_crashed_worker_is_leased_by_another(reports: Reports, ingester: ReportIngester) -> None:
    sent = await reports.send(PASSING)
    await lease(ingester)
    async with running_ingester(reports, ingester):
        await asyncio.sleep(0.3)
        assert (await reports.api.get(f"/v1/receipts/{sent['id']}"))["status"] == "processing"
        await expire_leases(reports)
        assert (await reports.wait_until_finished(sent))["status"] == "stored"
    assert (await reports.api.get("/v1/runs/run_1"))["revision"] == 1


async def test_missing_partition_is_created_again(
    reports: Reports, ingester: ReportIngester, database_url: str
) -> None:
    async with running_ingester(reports, ingester):
        await reports.ingest(PASSING)
        async with as_owner(database_url) as owner:
            await owner.execute(f"DROP TABLE results_{datetime.now(UTC):%Y_%m}")
        assert (await reports.ingest(PASSING, "run_2"))["status"] == "stored"


async def test_worker_with_an_expired_lease_stores_nothing(reports: Reports, ingester: ReportIngester) -> None:
    sent = await reports.send(PASSING)
    slow = await lease(ingester)
    await expire_leases(reports)
    await lease(ingester)
    await ingester.ingest(slow)

    assert (await reports.api.get(f"/v1/receipts/{sent['id']}"))["status"] == "processing"
    await reports.api.error("/v1/runs/run_1", 404)


@pytest.mark.slow
async def test_lease_is_renewed_while_a_report_waits_to_be_stored(
    reports: Reports, ingester: ReportIngester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_reports, "_LEASE", timedelta(seconds=2))
    monkeypatch.setattr(ingest_reports, "_RENEW_EVERY_S", 0.2)
    await reports.api.store.ingest(run_event())
    pool: Any = reports.api.store.pool
    async with running_ingester(reports, ingester):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM runs WHERE org_id = 1 FOR UPDATE")
            first = await reports.send(PASSING)
            await until(lambda: is_being_stored(pool, first), "the first report to be stored")
            second = await reports.send(PASSING, "run_2")
            await asyncio.sleep(3)
            assert await new_ingester(Settings(), pool).lease() is None
        receipts = [await reports.wait_until_finished(receipt) for receipt in (first, second)]
    assert [receipt["status"] for receipt in receipts] == ["stored", "stored"]
    assert {
        row["attempt_count"] for row in await pool.fetch("SELECT attempt_count FROM receipts WHERE upload IS NOT NULL")
    } == {1}


async def is_being_stored(pool: Any, receipt: Any) -> bool:
    not_locked = "SELECT 1 FROM receipts WHERE receipt_id = $1 AND status = 'processing' FOR UPDATE SKIP LOCKED"
    is_processing = "SELECT status = 'processing' FROM receipts WHERE receipt_id = $1"
    return await pool.fetchval(is_processing, receipt["id"]) and await pool.fetchval(not_locked, receipt["id"]) is None


async def test_report_that_crashes_workers_is_rejected(reports: Reports, ingester: ReportIngester) -> None:
    sent = await reports.send(PASSING)
    for _ in range(MAX_ATTEMPTS):
        await lease(ingester)
        await expire_leases(reports)
    assert await ingester.lease() is None
    await ingester.reject_abandoned()

    receipt = await reports.wait_until_finished(sent)
    assert receipt["problems"][0]["reason"] == "internal_error: 4 workers crashed while they processed this report"


async def test_storage_outage_does_not_use_up_the_attempts_of_a_report(
    reports: Reports, ingester: ReportIngester, storage: UnavailableStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_reports, "_OUTAGE_WAIT", timedelta(0))
    storage.is_unavailable = True
    sent = await reports.send(PASSING)
    for _ in range(MAX_ATTEMPTS + 1):
        assert (await ingester.ingest(await lease(ingester))).status == "queued"
    storage.is_unavailable = False
    assert (await ingester.ingest(await lease(ingester))).status == "stored"
    assert (await reports.wait_until_finished(sent))["status"] == "stored"


async def test_storage_outage_is_logged_without_a_traceback(
    reports: Reports, ingester: ReportIngester, storage: UnavailableStorage
) -> None:
    storage.is_unavailable = True
    await reports.send(PASSING)
    with capture_logs() as logs:
        assert (await ingester.ingest(await lease(ingester))).status == "queued"
    [line] = [line for line in logs if line["event"] == "report_failed"]
    assert (line["error"], line["exc_info"]) == ("Unavailable('the file storage is unavailable')", None)


async def test_report_is_rejected_even_if_its_upload_cannot_be_deleted(
    reports: Reports, ingester: ReportIngester, storage: UnavailableStorage
) -> None:
    sent = await reports.send(b"<testsuite><testcase")
    storage.fails_after_read = True
    assert (await ingester.ingest(await lease(ingester))).status == "rejected"
    assert (await reports.wait_until_finished(sent))["status"] == "rejected"


@pytest.mark.parametrize(("crashes", "status"), [(1, "stored"), (2, "rejected")])
async def test_report_whose_parser_process_crashes_is_parsed_once_again(
    reports: Reports, tmp_path: Path, crashes: int, status: str
) -> None:
    parser = CrashingParser(crashes)
    ingester = new_ingester(Settings(artifacts_url=(tmp_path / "files").as_uri()), reports.api.store.pool, [parser])
    sent = await reports.send(PASSING)
    assert (await ingester.ingest(await lease(ingester))).status == status
    receipt = await reports.wait_until_finished(sent)
    reason = (
        "malformed_report: the parser process crashed while it parsed the upload. If the upload needs more than"
        " 1024 MiB of memory, split it into several uploads"
    )
    assert [problem["reason"] for problem in receipt["problems"]] == [reason] * (status == "rejected")
    await reports.send(PASSING, "run_2")
    assert (await ingester.ingest(await lease(ingester))).status == "stored"
    await ingester.close()


async def test_stopped_worker_releases_its_report_without_counting_the_attempt(
    reports: Reports, ingester: ReportIngester
) -> None:
    sent = await reports.send(PASSING)
    work = asyncio.create_task(ingester.ingest(await lease(ingester)))
    await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    assert (await lease(ingester)).attempt_count == 1
    assert (await reports.api.get(f"/v1/receipts/{sent['id']}"))["status"] == "processing"


async def test_concurrent_shards_of_several_workers_become_one_run(
    reports: Reports, database_url: str, tmp_path: Path
) -> None:
    shards = 8
    settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
    async with AsyncExitStack() as workers:
        for _ in range(2):
            pool = await database.open_pool(database_url, "results_worker", 10)
            workers.push_async_callback(database.close_pool, pool)
            await workers.enter_async_context(running_ingester(reports, new_ingester(settings, pool)))
        sent = [
            reports.ingest(shard_of(number), params={"shard": f"{number}/{shards}"}) for number in range(1, shards + 1)
        ]
        receipts = await asyncio.gather(*sent)
    assert {receipt["status"] for receipt in receipts} == {"stored"}
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["counts"]["passed"], run["counts"]["failed"]) == (True, shards * 499, shards)
    events = await reports.api.store.pool.fetch("SELECT type FROM events WHERE type = 'run.completed'")
    assert len(events) == 1


def shard_of(number: int) -> bytes:
    cases = "".join(f'<testcase name="case {case}" classname="shard {number}"/>' for case in range(499))
    return f'<testsuite name="{number}">{cases}<testcase name="fails"><failure/></testcase></testsuite>'.encode()


async def test_report_waits_while_the_worker_of_its_organization_does_not_respond(
    reports: Reports, ingester: ReportIngester, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise WorkerUnavailable

    sent = await reports.send(PASSING)
    with monkeypatch.context() as patched:
        patched.setattr(ingester._checks, "while_available", refuse)
        assert (await ingester.ingest(await lease(ingester))).status == "queued"
    pool: Any = reports.api.store.pool
    row = await pool.fetchrow("SELECT status, attempt_count FROM receipts WHERE receipt_id = $1", sent["id"])
    assert (row["status"], row["attempt_count"]) == ("queued", 0)
    await pool.execute("UPDATE receipts SET due_at = now() WHERE receipt_id = $1", sent["id"])
    assert (await ingester.ingest(await lease(ingester))).status == "stored"


@pytest.mark.slow
async def test_report_is_retried_while_another_transaction_has_locked_its_run(
    reports: Reports, ingester: ReportIngester
) -> None:
    await reports.api.store.ingest(run_event())
    sent = await reports.send(PASSING)
    pool: Any = reports.api.store.pool
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM runs WHERE org_id = 1 FOR UPDATE")
        await ingester.ingest(await lease(ingester))
    row = await pool.fetchrow("SELECT status, attempt_count FROM receipts WHERE receipt_id = $1", sent["id"])
    assert (row["status"], row["attempt_count"]) == ("queued", 0)


def fill_disk(monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    """Let the disk be full for the downloaded report or for the file of its results."""

    @contextmanager
    def create(prefix: str) -> Iterator[str]:
        with TemporaryDirectory(prefix=prefix) as folder:
            (Path(folder) / full).symlink_to("/dev/full")
            yield folder

    monkeypatch.setattr(ingest_reports, "TemporaryDirectory", create)


@pytest.mark.parametrize("full", ["report-0", "results-0"])
async def test_report_that_does_not_fit_into_the_temporary_folder_is_rejected_after_its_attempts(
    reports: Reports, ingester: ReportIngester, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    fill_disk(monkeypatch, full)
    monkeypatch.setattr(ingest_reports, "WORKER_ERROR_WAITS", [timedelta(0)] * 3)
    pool: Any = reports.api.store.pool
    sent = await reports.send(PASSING)
    reason = "internal_error: the temporary folder of the server failed: No space left on device"
    for attempt in range(1, MAX_ATTEMPTS):
        assert (await ingester.ingest(await lease(ingester))).status == "queued"
        assert await pool.fetchval("SELECT attempt_count FROM receipts WHERE upload IS NOT NULL") == attempt
        queued = await reports.api.get(f"/v1/receipts/{sent['id']}")
        assert queued["problems"][0]["reason"] == f"{reason}; the report is queued for another attempt"
    assert (await ingester.ingest(await lease(ingester))).status == "rejected"
    receipt = await reports.wait_until_finished(sent)
    assert receipt["problems"][0]["reason"] == f"{reason} in each attempt"


async def test_report_is_stored_after_the_temporary_folder_has_space_again(
    reports: Reports, ingester: ReportIngester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_reports, "WORKER_ERROR_WAITS", [timedelta(0)] * 3)
    sent = await reports.send(PASSING)
    with monkeypatch.context() as full:
        fill_disk(full, "report-0")
        assert (await ingester.ingest(await lease(ingester))).status == "queued"
    assert (await ingester.ingest(await lease(ingester))).status == "stored"
    receipt = await reports.wait_until_finished(sent)
    assert (receipt["status"], receipt["problems"]) == ("stored", [])


@pytest.mark.slow
async def test_accepted_report_is_stored_after_the_storage_was_missing_temporarily(
    reports: Reports, ingester: ReportIngester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_reports, "_OUTAGE_WAIT", timedelta(0))
    sent = await reports.send(PASSING)
    (tmp_path / "files").rename(tmp_path / "volume")
    for _ in range(MAX_ATTEMPTS + 1):
        assert (await ingester.ingest(await lease(ingester))).status == "queued"
    response = await reports.post(PASSING, "run_2")
    assert response.status == 503, await response.text()
    assert "volume is mounted" in (await response.json())["error"]["message"]
    assert not (tmp_path / "files").exists()
    (tmp_path / "volume").rename(tmp_path / "files")
    assert (await ingester.ingest(await lease(ingester))).status == "stored"
    assert (await reports.wait_until_finished(sent))["status"] == "stored"


@pytest.mark.slow
async def test_accepted_report_is_stored_after_its_bucket_was_missing_temporarily(
    database_url: str, tmp_path: Path, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_reports, "_OUTAGE_WAIT", timedelta(0))
    url = new_bucket(s3_url)
    async with serving_reports(database_url, tmp_path, artifacts_url=url) as reports:
        ingester = new_ingester(Settings(artifacts_url=url), reports.api.store.pool)
        sent = await reports.send(PASSING)
        path = await reports.api.store.pool.fetchval("SELECT upload #>> '{reports,0,path}' FROM receipts")
        await reports.storage.delete(path)
        delete_bucket(s3_url, url)
        for _ in range(MAX_ATTEMPTS + 1):
            assert (await ingester.ingest(await lease(ingester))).status == "queued"
        response = await reports.post(PASSING, "run_2")
        assert response.status == 503, await response.text()
        assert "bucket" in (await response.json())["error"]["message"]
        create_bucket(s3_url, url)
        await write(reports.storage, path, PASSING)
        assert (await ingester.ingest(await lease(ingester))).status == "stored"
        assert (await reports.wait_until_finished(sent))["status"] == "stored"
