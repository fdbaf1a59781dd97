"""A report from its upload to its last row: what one consumer process does with it, on servers of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from benchmarks.servers import Servers, consumer_process, cpu_s, peak_rss_mib, servers
from service.domain.ids import OrgId
from service.domain.reports import Upload
from service.storage import Storage
from service.store import organizations
from service.store.postgres import database
from service.usecases.reports.accept_report import UploadPart, UploadWriter, accept_report

_CHUNK_BYTES: Final = 256 * 1024
_OPEN: Final = ("queued", "processing")
_SMALL: Final = b'<testsuite><testcase name="warms up"/></testsuite>'


def stored_per_s(report: Path, cases: int) -> float:
    """Cases per second from the acceptance of the report to the end of its receipt; prints what it cost."""
    with servers(with_broker=False) as given:
        files = (given.folder / "files").as_uri()
        with consumer_process(given, "reports", RESULTS_ARTIFACTS_URL=files, RESULTS_AMQP_URL="") as consumer:
            asyncio.run(_send(given, files, "warm", _pieces(_SMALL)))
            before, began = cpu_s(consumer), time.perf_counter()
            asyncio.run(_send(given, files, "run_1", _pieces(report.read_bytes())))
            taken = time.perf_counter() - began
            print(
                f"consumer: {(cpu_s(consumer) - before) / cases * 1e6:.1f} us of CPU a case beside its child,", end=" "
            )
            print(f"{peak_rss_mib(consumer):.0f} MiB at most")
    return cases / taken


async def _send(given: Servers, files: str, run_id: str, body: AsyncIterator[bytes]) -> None:
    """Uploads the report as the API does, and waits for its end."""
    pool = await database.open_pool(given.database_url, "results_worker", 2)
    try:
        async with pool.acquire() as connection:
            org_id = await _organization(connection)
            writer = UploadWriter(Storage(files), org_id, 2**40)
            report = await writer.store(UploadPart("report", "application/xml", body))
            await accept_report(connection, org_id, writer.receipt_id, run_id, Upload(report, {"project_id": "shop"}))
            while (status := await _status(connection, writer.receipt_id)) in _OPEN:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if status != "stored":
            raise SystemExit(f"the report is {status}")
    finally:
        await database.close_pool(pool)


async def _organization(connection: database.Connection) -> OrgId:
    known = await organizations.find_by_slugs(connection, ["acme"])
    return known["acme"] if known else await organizations.create(connection, "acme", "Acme")


async def _status(connection: database.Connection, receipt_id: str) -> str:
    status: str = await connection.fetchval("SELECT status FROM receipts WHERE receipt_id = $1", receipt_id)
    return status


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _CHUNK_BYTES):
        yield body[start : start + _CHUNK_BYTES]
