"""Snapshots: an export contains the rows of one point in time, regardless of concurrent writes."""

import asyncio
import io
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import asyncpg
import pyarrow.parquet
import pytest

from service.database import database
from service.domain.ids import OrgId
from service.exports.readers import ReadStrategy, open_readers
from service.exports.write_export import ExportProgress, ExportWriter, read_in_order
from tests.exporting import export_spec
from tests.run_events import result, run_event
from tests.stored import Store

ORG = OrgId(1)
STRATEGY = ReadStrategy(readers=3, range_results=1, buffered_chunks=2)
RUNS = 7


@pytest.fixture
async def pool(store: Store, database_url: str) -> AsyncIterator[Any]:
    for number in range(RUNS):
        await store.ingest(run_event(f"run_{number}", [result("a")]))
    pool = await database.open_pool(database_url, "results_api", STRATEGY.readers)
    yield pool
    await database.close_pool(pool)


async def insert_more_results(store: Store) -> None:
    for number in range(RUNS):
        await store.ingest(run_event(f"run_{number}", [result("late")]))


async def test_text_contains_no_result_stored_after_the_start(store: Store, pool: Any, database_url: str) -> None:
    spec = export_spec({"format": "ndjson"})
    chunks: list[bytes] = []
    counted: list[int] = []

    async def write(chunk: bytes) -> None:
        chunks.append(chunk)

    async with open_readers(pool, database_url, ORG, spec, STRATEGY) as (plan, readers):
        await insert_more_results(store)
        await read_in_order(readers, plan.ranges, write, counted.append, STRATEGY.buffered_chunks)
    assert sum(counted) == RUNS
    assert b"".join(chunks).count(b"\n") == RUNS


async def test_parquet_has_the_stored_times_if_the_server_shows_them_in_another_form(
    pool: Any, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'")
    await connection.execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Kolkata'")
    expected = await connection.fetch("SELECT completed_at FROM runs ORDER BY run_key DESC")
    await connection.close()
    await pool.expire_connections()
    file = io.BytesIO()

    async def write(data: bytes) -> None:
        file.write(data)

    spec = export_spec({"format": "parquet", "columns": ["completed_at"]})
    writer: Any = SimpleNamespace(write=write)
    await ExportWriter(pool, database_url, STRATEGY).write(ORG, spec, writer, ExportProgress())
    assert pyarrow.parquet.read_table(file)["completed_at"].to_pylist() == [row["completed_at"] for row in expected]


async def start_export(pool: Any, database_url: str, write: Callable[[bytes], Awaitable[None]]) -> "asyncio.Task[None]":
    spec = export_spec({"format": "csv"})

    async def run() -> None:
        async with open_readers(pool, database_url, ORG, spec, STRATEGY) as (plan, readers):
            await read_in_order(readers, plan.ranges, write, lambda _: None, STRATEGY.buffered_chunks)

    return asyncio.create_task(run())


async def assert_canceled(export: "asyncio.Task[None]", pool: Any) -> None:
    """Cancel the export and check that it ends immediately and releases every connection."""
    export.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await export
    assert pool.get_idle_size() == pool.get_size()


async def test_cancellation_during_a_read_releases_every_connection(pool: Any, database_url: str) -> None:
    started = asyncio.Event()

    async def write(_: bytes) -> None:
        started.set()
        await asyncio.Event().wait()

    export = await start_export(pool, database_url, write)
    await started.wait()
    await assert_canceled(export, pool)


async def test_cancellation_at_any_time_ends_immediately(pool: Any, database_url: str) -> None:
    async def write(_: bytes) -> None:
        await asyncio.sleep(0.002)

    for delay_index in range(40):
        export = await start_export(pool, database_url, write)
        await asyncio.sleep(delay_index * 0.0005)
        await assert_canceled(export, pool)


async def test_cancellation_while_the_server_is_suspended_ends_immediately(pool: Any, database_url: str) -> None:
    started = asyncio.Event()

    async def write(_: bytes) -> None:
        started.set()
        await asyncio.sleep(0.1)

    export = await start_export(pool, database_url, write)
    await started.wait()
    suspended = await backends(database_url)
    assert suspended
    try:
        for pid in suspended:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        await assert_canceled(export, pool)
    finally:
        for pid in suspended:
            os.kill(pid, signal.SIGCONT)


async def backends(database_url: str) -> list[int]:
    """Return the PIDs of the server processes that read for exports."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'"
    )
    await connection.close()
    return [row["pid"] for row in rows]
