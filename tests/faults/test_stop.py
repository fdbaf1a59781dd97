"""An API process that gets SIGTERM while PostgreSQL stops, as during a shutdown of the machine."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientConnectionError, ClientSession

from service.database import migrations
from service.dev.ports import choose_port
from service.dev.postgres import FAST, Postgres, temporary_postgres
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from tests.stored import open_store

pytestmark = pytest.mark.slow

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 25
POSTGRES_DELAYS_S = (0.0, 0.03, 0.08, 0.15)  # relative to the SIGTERM of the API
REQUESTS = ("/v1/events/stream", "/v1/runs/absent?wait=30", "/v1/runs/absent?wait=30")


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGQUIT])  # a fast and an immediate shutdown
async def test_api_exits_if_postgres_stops_at_the_same_time(tmp_path: Path, stop_signal: signal.Signals) -> None:
    with temporary_postgres(tmp_path / "postgres", settings=FAST) as server:
        await migrations.apply(server.url)
        async with open_store(server.url) as store, store.pool.acquire() as connection:
            key = (await create_key(connection, OrgId(1), "test", "viewer")).key
        durations_s = [await stop_both(server, key, stop_signal, delay_s) for delay_s in POSTGRES_DELAYS_S]
    print("seconds until the API exited:", *(f"{duration_s:.1f}" for duration_s in durations_s))


async def stop_both(server: Postgres, key: str, stop_signal: signal.Signals, delay_s: float) -> float:
    """Stop the API, and PostgreSQL after the delay. Return the time until the API exits, and start PostgreSQL again."""
    async with serving(server.url) as (api, url), ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        requests = [asyncio.create_task(read(session, url + path)) for path in REQUESTS]
        await asyncio.sleep(0.3)
        started = time.monotonic()
        api.terminate()
        await asyncio.sleep(delay_s)
        server.process.send(stop_signal)
        assert await asyncio.wait_for(api.wait(), STOP_TIMEOUT_S) == 0
        duration_s = time.monotonic() - started
        await asyncio.gather(*requests)
    await asyncio.to_thread(server.process.stop)
    server.launch()
    while not server.is_ready():  # noqa: ASYNC110 - another process's state
        await asyncio.sleep(0.05)
    return duration_s


async def read(session: ClientSession, url: str) -> None:
    with contextlib.suppress(ClientConnectionError):
        async with session.get(url) as response:
            await response.read()


@contextlib.asynccontextmanager
async def serving(database_url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = choose_port()
    environment = {**os.environ, "RESULTS_DATABASE_URL": database_url, "RESULTS_HTTP_PORT": str(port)}
    api = await asyncio.create_subprocess_exec(sys.executable, "-m", "service", "api", env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(START_TIMEOUT_S), ClientSession() as session:
            while not await responds(session, url):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)
        yield api, url
    finally:
        if api.returncode is None:
            api.kill()
            await api.wait()


async def responds(session: ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/readyz") as response:
            return response.status == 200
    except ClientConnectionError:
        return False
