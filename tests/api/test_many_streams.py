"""A thousand people follow the stream of one process, as it runs in production."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from service.dev.ports import choose_port
from service.domain.ids import OrgId
from service.usecases.administration.keys import create_key
from service.usecases.events.number_events import number_events
from tests.run_events import run_event
from tests.stored import open_store

pytestmark = pytest.mark.slow

STREAMS = 1_000
PATIENCE_S = 60


async def test_a_thousand_streams_are_told_within_seconds(database_url: str) -> None:
    async with open_store(database_url) as store, AsyncExitStack() as opened, serving(database_url) as port:
        async with store.pool.acquire() as connection:
            made = await create_key(connection, OrgId(1), "test", "viewer")
        streams = []
        for _ in range(STREAMS // 50):
            batch = [opened.enter_async_context(stream(port, made.key)) for _ in range(50)]
            streams += await asyncio.gather(*batch)
        await store.take(run_event("run_1"))
        begun = time.perf_counter()
        await number_events(store.pool)
        told = await asyncio.wait_for(asyncio.gather(*(event(reader) for reader in streams)), PATIENCE_S)
        taken_s = time.perf_counter() - begun
    print(f"{STREAMS} streams told in {taken_s:.2f} s")
    assert all(b'"run_1"' in line for line in told)
    assert taken_s < 5


@asynccontextmanager
async def serving(database_url: str) -> AsyncIterator[int]:
    port = choose_port()
    environment = {
        **os.environ,
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_HTTP_PORT": str(port),
        "RESULTS_RATE_LIMIT": "off",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "service", "api", env=environment)
    try:
        await answering(port)
        yield port
    finally:
        begun = time.perf_counter()
        process.terminate()
        assert await process.wait() == 0
        assert time.perf_counter() - begun < 10  # streams don't hold up a stop


async def answering(port: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def stream(port: int, key: str) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /v1/events/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
    writer.write(request.encode())
    assert b"200" in await reader.readline()
    await reader.readuntil(b"retry: ")
    try:
        yield reader
    finally:
        writer.close()


async def event(reader: asyncio.StreamReader) -> bytes:
    await reader.readuntil(b"data: ")
    return await reader.readline()
