"""An export tells of one moment, however many connections read it and whatever is written meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pyarrow as pa
import pytest

from service.domain.ids import OrgId
from service.store.export_readers.arrow import open_arrow_readers
from service.store.export_readers.snapshots import ReadStrategy
from service.store.export_readers.text import open_text_readers
from service.store.postgres import database
from service.usecases.exports.read_in_order import read_in_order
from tests.exporting import export_spec
from tests.run_events import result, run_event
from tests.stored import Store

ORG = OrgId(1)
STRATEGY = ReadStrategy(readers=3, range_results=1, buffered_chunks=2)
RUNS = 7


@pytest.fixture
async def pool(store: Store, database_url: str) -> AsyncIterator[Any]:
    for nth in range(RUNS):
        await store.take(run_event(f"run_{nth}", [result("a")]))
    pool = await database.open_pool(database_url, "results_api", STRATEGY.readers)
    yield pool
    await database.close_pool(pool)


async def write_more(store: Store) -> None:
    for nth in range(RUNS):
        await store.take(run_event(f"run_{nth}", [result("late")]))


async def test_text_holds_nothing_that_came_after_it_was_begun(store: Store, pool: Any) -> None:
    spec = export_spec({"format": "ndjson"})
    chunks: list[bytes] = []
    counted: list[int] = []

    async def take(chunk: bytes) -> None:
        chunks.append(chunk)

    async with open_text_readers(pool, ORG, spec, STRATEGY) as (plan, readers):
        await write_more(store)
        await read_in_order(readers, plan.ranges, take, counted.append, STRATEGY.buffered_chunks)
    assert sum(counted) == RUNS
    assert b"".join(chunks).count(b"\n") == RUNS


async def test_arrow_batches_hold_nothing_that_came_after_they_were_begun(
    store: Store, pool: Any, database_url: str
) -> None:
    spec = export_spec({"format": "parquet"})
    batches: list[pa.RecordBatch] = []
    counted: list[int] = []

    async def take(batch: pa.RecordBatch) -> None:
        batches.append(batch)

    async with open_arrow_readers(pool, database_url, ORG, spec, STRATEGY) as (plan, readers):
        await write_more(store)
        await read_in_order(readers, plan.ranges, take, counted.append, STRATEGY.buffered_chunks)
    assert sum(counted) == RUNS
    assert pa.Table.from_batches(batches).num_rows == RUNS


async def begin(pool: Any, take: Callable[[bytes], Awaitable[None]]) -> "asyncio.Task[None]":
    spec = export_spec({"format": "csv"})

    async def export() -> None:
        async with open_text_readers(pool, ORG, spec, STRATEGY) as (plan, readers):
            await read_in_order(readers, plan.ranges, take, lambda _: None, STRATEGY.buffered_chunks)

    return asyncio.create_task(export())


async def assert_canceled(work: "asyncio.Task[None]", pool: Any) -> None:
    """At once, and with every connection given back."""
    work.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await work
    assert pool.get_idle_size() == pool.get_size()


async def test_canceled_while_reading_it_gives_every_connection_back(pool: Any) -> None:
    begun = asyncio.Event()

    async def take(_: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    work = await begin(pool, take)
    await begun.wait()
    await assert_canceled(work, pool)


async def test_canceled_at_any_moment_it_ends_at_once(pool: Any) -> None:
    async def take(_: bytes) -> None:
        await asyncio.sleep(0.002)

    for moment in range(40):
        work = await begin(pool, take)
        await asyncio.sleep(moment * 0.0005)
        await assert_canceled(work, pool)


async def test_canceled_while_the_server_hangs_it_ends_at_once(pool: Any, database_url: str) -> None:
    begun = asyncio.Event()

    async def take(_: bytes) -> None:
        begun.set()
        await asyncio.sleep(0.1)

    work = await begin(pool, take)
    await begun.wait()
    hung = await backends(database_url)
    assert hung
    try:
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(0.5)
        await assert_canceled(work, pool)
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)


async def backends(database_url: str) -> list[int]:
    """The processes of the server that read for exports."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'"
    )
    await connection.close()
    return [row["pid"] for row in rows]
