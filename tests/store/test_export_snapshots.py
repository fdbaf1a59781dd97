"""An export tells of one moment, however many connections read it and whatever is written meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pyarrow as pa
import pytest

from service.contracts.exports import ExportRequest
from service.domain.ids import OrgId
from service.store import database
from service.store.export_arrow import reading_arrow
from service.store.export_snapshots import Shape
from service.store.export_text import reading_text
from service.usecases.read_in_order import read_in_order
from tests.run_events import result, run_event
from tests.stored import Store

ORG = OrgId(1)
SHAPE = Shape(readers=3, range_results=1, ahead=2)
RUNS = 7


@pytest.fixture
async def pool(store: Store, database_url: str) -> AsyncIterator[Any]:
    for nth in range(RUNS):
        await store.take(run_event(f"run_{nth}", [result("a")]))
    pool = await database.open_pool(database_url, "results_api", SHAPE.readers)
    yield pool
    await database.close_pool(pool)


async def write_more(store: Store) -> None:
    for nth in range(RUNS):
        await store.take(run_event(f"run_{nth}", [result("late")]))


async def test_text_holds_nothing_that_came_after_it_was_begun(store: Store, pool: Any) -> None:
    order = ExportRequest.model_validate({"format": "ndjson"}).to_order()
    chunks: list[bytes] = []

    async def take(chunk: bytes) -> None:
        chunks.append(chunk)

    async with reading_text(pool, ORG, order, SHAPE) as (plan, readers):
        await write_more(store)
        assert await read_in_order(readers, plan.ranges, take, SHAPE.ahead) == RUNS
    assert b"".join(chunks).count(b"\n") == RUNS


async def test_arrow_batches_hold_nothing_that_came_after_they_were_begun(
    store: Store, pool: Any, database_url: str
) -> None:
    order = ExportRequest.model_validate({"format": "parquet"}).to_order()
    batches: list[pa.RecordBatch] = []

    async def take(batch: pa.RecordBatch) -> None:
        batches.append(batch)

    async with reading_arrow(pool, database_url, ORG, order, SHAPE) as (plan, readers):
        await write_more(store)
        assert await read_in_order(readers, plan.ranges, take, SHAPE.ahead) == RUNS
    assert pa.Table.from_batches(batches).num_rows == RUNS


async def test_canceled_while_reading_it_gives_every_connection_back(store: Store, pool: Any) -> None:
    order = ExportRequest.model_validate({"format": "csv"}).to_order()
    begun = asyncio.Event()

    async def take(_: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def export() -> None:
        async with reading_text(pool, ORG, order, SHAPE) as (plan, readers):
            await read_in_order(readers, plan.ranges, take, SHAPE.ahead)

    work = asyncio.create_task(export())
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert pool.get_idle_size() == pool.get_size()
