"""The short form of the export benchmark: the CPU time of COPY of the same query relative to an export."""

import asyncio
import io
import subprocess
from pathlib import Path
from typing import Final

import asyncpg

from benchmarks.cpu import backends_ns, process_ns
from benchmarks.export import ORGANIZATION, csv_query, queue_export, wait_until_finished
from benchmarks.servers import consumer_process, servers

_RESULTS: Final = 120_000
_ROUNDS: Final = 3
_FORMATS: Final = ("csv", "ndjson")
_ROLES: Final = ("results_api", "results_worker")
_SCRIPT: Final = Path(__file__).parent.with_name("export.sql")


def measure() -> dict[str, float]:
    """Return the ratio of the CPU times for each format: COPY of the rows as CSV / worker and PostgreSQL."""
    with servers(with_broker=False) as running:
        running.psql(f"\\set results {_RESULTS}", f"\\i {_SCRIPT}")
        files = Path(running.folder / "files").as_uri()
        with consumer_process(running, "exports", RESULTS_AMQP_URL="", RESULTS_ARTIFACTS_URL=files) as worker:
            asyncio.run(_export(running.database_url, worker, _FORMATS[0]))  # starts the worker and its connections
            return {form: asyncio.run(_compare(running.database_url, worker, form)) for form in _FORMATS}


async def _compare(url: str, worker: subprocess.Popen[bytes], form: str) -> float:
    """Alternate between COPY and an export, and return the ratio of the least times."""
    query = await csv_query(url)
    rounds = [(await _copy(url, query), await _export(url, worker, form)) for _ in range(_ROUNDS)]
    return min(copy_ns for copy_ns, _ in rounds) / min(export_ns for _, export_ns in rounds)


async def _copy(url: str, query: str) -> int:
    """Return the CPU time in ns of the PostgreSQL process that copies the rows."""
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    await connection.execute(f"SET ROLE results_api; SET app.org_id = {ORGANIZATION}")
    before_ns = process_ns(connection.get_server_pid())
    await connection.copy_from_query(query, output=io.BytesIO(), format="csv")
    used_ns = process_ns(connection.get_server_pid()) - before_ns
    await connection.close()
    return used_ns


async def _export(url: str, worker: subprocess.Popen[bytes], form: str) -> int:
    """Export all results, and return the CPU time in ns of the worker and its connections."""
    connection = await asyncpg.connect(url)
    before_ns = process_ns(worker.pid) + await backends_ns(connection, *_ROLES)
    job = await wait_until_finished(url, await queue_export(url, form, "none"))
    used_ns = process_ns(worker.pid) + await backends_ns(connection, *_ROLES) - before_ns
    await connection.close()
    if job["status"] != "succeeded":
        raise RuntimeError(f"export as {form}: {job['status']}: {job['error']}")
    return used_ns
