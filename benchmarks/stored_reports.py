"""Ingestion of one report from its upload to its last row, by one consumer process on separate servers."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from benchmarks.servers import BenchmarkServers, consumer_process, cpu_s, peak_rss_mib, servers
from service.database import database
from service.domain.ids import OrgId
from service.organizations import store as organizations_store
from service.reports.accept_report import UploadPart, UploadWriter, accept_report
from service.reports.model import Upload
from service.storage import Storage

_CHUNK_BYTES: Final = 256 * 1024
_OPEN: Final = ("queued", "processing")
_SMALL: Final = b'<testsuite><testcase name="warms up"/></testsuite>'


def stored_per_s(report: Path, cases: int) -> float:
    """Return the cases per second from the upload to the finished receipt, and print the CPU time and the memory."""
    with servers(with_broker=False) as stack:
        files = (stack.folder / "files").as_uri()
        with consumer_process(stack, "reports", RESULTS_ARTIFACTS_URL=files, RESULTS_AMQP_URL="") as consumer:
            asyncio.run(_send(stack, files, "warm", _chunks(_SMALL)))
            cpu_before, started = cpu_s(consumer), time.perf_counter()
            asyncio.run(_send(stack, files, "run_1", _chunks(report.read_bytes())))
            elapsed_s = time.perf_counter() - started
            cpu_us = (cpu_s(consumer) - cpu_before) / cases * 1e6
            print(f"consumer: {cpu_us:.1f} us of CPU per case without the parser process,", end=" ")
            print(f"{peak_rss_mib(consumer):.0f} MiB peak memory")
    return cases / elapsed_s


async def _send(stack: BenchmarkServers, files: str, run_id: str, body: AsyncIterator[bytes]) -> None:
    """Upload the report as the API does, and wait until its receipt is finished."""
    pool = await database.open_pool(stack.database_url, "results_worker", 2)
    try:
        async with pool.acquire() as connection:
            org_id = await _organization(connection)
            writer = UploadWriter(Storage(files), org_id, 2**40)
            report = await writer.store(UploadPart("report", "application/xml", body))
            await accept_report(
                connection, org_id, writer.receipt_id, run_id, Upload((report,), {"project_id": "shop"})
            )
            while (status := await _status(connection, writer.receipt_id)) in _OPEN:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if status != "stored":
            raise SystemExit(f"the report has the status {status}")
    finally:
        await database.close_pool(pool)


async def _organization(connection: database.Connection) -> OrgId:
    known = await organizations_store.find_by_slugs(connection, ["acme"])
    return known["acme"] if known else await organizations_store.create(connection, "acme", "Acme")


async def _status(connection: database.Connection, receipt_id: str) -> str:
    status: str = await connection.fetchval("SELECT status FROM receipts WHERE receipt_id = $1", receipt_id)
    return status


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _CHUNK_BYTES):
        yield body[start : start + _CHUNK_BYTES]
