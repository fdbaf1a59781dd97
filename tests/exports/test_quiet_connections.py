"""An export whose server sends no rows: a half-open connection ends soon, and a server that works can take its time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from service.database import database
from service.domain.ids import OrgId
from service.exports import readers
from service.exports.readers import TextReader, loss_probe, open_snapshot
from service.exports.write_export import ExportProgress, ExportWriter
from tests.exporting import STRATEGY, export_spec
from tests.proxies import UnreliableProxy
from tests.run_events import result, run_event
from tests.stored import Store

RANGE: Any = None
MANY_ROWS = "SELECT repeat('x', 1000) FROM generate_series(1, 200000)"  # more than the buffers of the network
SLOW_ROW = "SELECT 1 FROM (SELECT pg_sleep(2)) slow"
NO_ROW = "SELECT 1 FROM (SELECT pg_sleep(1.1)) slow WHERE false"


@pytest.fixture(autouse=True)
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "_PROBE_AFTER_S", 0.3)
    monkeypatch.setattr(readers, "_ARRIVAL_S", 0.3)


@asynccontextmanager
async def reading(url: str, database_url: str, query: str) -> AsyncIterator[TextReader]:
    """Provide a reader of a query that stands for the results of a range."""
    plan: Any = SimpleNamespace(query=lambda _: query, ranges=[RANGE])
    pool = await database.open_pool(url, "results_api", 1)
    try:
        async with open_snapshot(pool, OrgId(1)) as connection:
            yield TextReader(connection, await loss_probe(connection, database_url), plan, "csv")
    finally:
        pool.terminate()


async def ignore(_: bytes) -> None: ...


@pytest.mark.parametrize("query", [MANY_ROWS, SLOW_ROW], ids=["while rows are sent", "before the first row"])
async def test_half_open_connection_ends_the_copy_soon(store: Any, database_url: str, query: str) -> None:
    """The server process waits for the network, or has sent everything, and the machine of the proxy still responds."""
    async with UnreliableProxy(database_url) as proxy:

        async def stall(_: bytes) -> None:
            proxy.stall_connections()

        async def read() -> None:
            async with reading(proxy.url, database_url, query) as reader:
                await reader.read(RANGE, stall)

        exporting = asyncio.create_task(read())
        if query == SLOW_ROW:
            await asyncio.sleep(1)
            proxy.stall_connections()
        await asyncio.wait({exporting}, timeout=10)
        assert isinstance(exporting.exception(), TimeoutError)


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
async def test_half_open_connections_end_an_export_soon(store: Store, database_url: str, form: str) -> None:
    await store.ingest(run_event("run_1", [result(f"case {number}") for number in range(100)]))
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_api", STRATEGY.readers)

        class StallingFile:
            async def write(self, _: bytes) -> None:
                proxy.stall_connections()

        file: Any = StallingFile()
        writer = ExportWriter(pool, proxy.url, STRATEGY)
        writing = asyncio.create_task(writer.write(OrgId(1), export_spec({"format": form}), file, ExportProgress()))
        try:
            await asyncio.wait({writing}, timeout=10)
            assert writing.done()
            assert isinstance(writing.exception(), TimeoutError)
        finally:
            pool.terminate()


@pytest.mark.parametrize(("query", "rows"), [(SLOW_ROW, 1), (NO_ROW, 0)])
async def test_server_that_works_is_not_interrupted(store: Any, database_url: str, query: str, rows: int) -> None:
    async with reading(database_url, database_url, query) as reader:
        assert await reader.read(RANGE, ignore) == rows


async def test_slow_storage_is_not_a_quiet_connection(store: Any, database_url: str) -> None:
    """The server process waits for the network, because the reader waits for the storage."""

    async def write_slowly(_: bytes) -> None:
        await asyncio.sleep(1.5)

    async with reading(database_url, database_url, f"{MANY_ROWS} LIMIT 3000") as reader:
        assert await reader.read(RANGE, write_slowly) == 3000


async def test_copy_continues_while_the_server_accepts_no_other_connection(store: Any, database_url: str) -> None:
    async with UnreliableProxy(database_url) as proxy, reading(database_url, proxy.url, SLOW_ROW) as reader:
        proxy.rejects_connections = True
        assert await reader.read(RANGE, ignore) == 1
