"""A thousand clients read the event stream of one API process."""

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
from service.events.operations import number_events
from service.identity.keys.operations import create_key
from tests.run_events import run_event
from tests.stored import open_store

pytestmark = pytest.mark.slow

STREAMS = 1_000
TIMEOUT_S = 60


async def test_a_thousand_streams_receive_an_event_within_seconds(database_url: str) -> None:
    async with open_store(database_url) as store, AsyncExitStack() as opened, serving(database_url) as port:
        async with store.pool.acquire() as connection:
            key = await create_key(connection, OrgId(1), "test", "viewer")
        streams = []
        for _ in range(STREAMS // 50):
            batch = [opened.enter_async_context(stream(port, key.key)) for _ in range(50)]
            streams += await asyncio.gather(*batch)
        await store.ingest(run_event("run_1"))
        started = time.perf_counter()
        await number_events(store.pool)
        received = await asyncio.wait_for(asyncio.gather(*(event(reader) for reader in streams)), TIMEOUT_S)
        duration_s = time.perf_counter() - started
    print(f"{STREAMS} streams received the event in {duration_s:.2f} s")
    assert all(b'"run_1"' in line for line in received)
    assert duration_s < 5


@asynccontextmanager
async def serving(database_url: str) -> AsyncIterator[int]:
    port = choose_port()
    environment = {
        **os.environ,
        "RESULTS_DATABASE_URL": database_url,
        "RESULTS_HTTP_PORT": str(port),
        "RESULTS_RATE_LIMIT": "off",
        "RESULTS_STREAMS_PER_KEY": str(STREAMS),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "service", "api", env=environment)
    try:
        await wait_until_listening(port)
        yield port
    finally:
        started = time.perf_counter()
        process.terminate()
        assert await process.wait() == 0
        assert time.perf_counter() - started < 10  # open streams don't delay the shutdown


async def wait_until_listening(port: int) -> None:
    async with asyncio.timeout(TIMEOUT_S):
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
