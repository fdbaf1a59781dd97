"""The time from the publisher confirm of a single event until its results are readable over HTTP, on an idle system."""

import asyncio
import time
from contextlib import ExitStack
from statistics import median, quantiles
from typing import Final

import aio_pika
import aiohttp
import asyncpg
import uvloop

from benchmarks.query_load import server_process
from benchmarks.servers import BenchmarkServers, consumer_process
from consumers.topology import RUN_COMPLETED, Topology
from service.identity.keys.operations import create_key
from service.organizations.store import find_by_slugs

BUDGET_P99_MS: Final = 50
_PORT: Final = 18_087
_RESULTS: Final = 5
_WARM_UP: Final = 20
_PAUSE_S: Final = 0.05  # between events
_DEADLINE_S: Final = 30.0


def measure(running: BenchmarkServers, events: int) -> None:
    """Measure single events, and print the latency relative to one commit and one request."""
    with ExitStack() as processes:
        processes.enter_context(server_process(running.database_url, _PORT))
        for roles in (("runs",), ("relay", "webhooks", "upkeep")):
            processes.enter_context(consumer_process(running, *roles))
        readable_ms, limit_ms = uvloop.run(_measure(running, events))
    p50, p99, limit = median(readable_ms), _p99(readable_ms), _p99(limit_ms)
    print(f"confirm -> readable over HTTP: p50 {p50:.1f} ms, p99 {p99:.1f} ms (budget {BUDGET_P99_MS})")
    print(f"one commit and one request:    p50 {median(limit_ms):.1f} ms, p99 {limit:.1f} ms")
    print(f"ratio: p50 {p50 / median(limit_ms):.1f}, p99 {p99 / limit:.1f}")


async def _measure(running: BenchmarkServers, events: int) -> tuple[list[float], list[float]]:
    """Return the latencies in ms: until the results of an event are readable, and of one commit and one request."""
    connection = await asyncpg.connect(running.database_url)
    organization = (await find_by_slugs(connection, {"acme"}))["acme"]
    key = (await create_key(connection, organization, "benchmark", "viewer")).key
    await connection.execute("CREATE TABLE committed (number int PRIMARY KEY)")
    readable_ms, limit_ms = [], []
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        await aio_pika.connect(running.amqp_url) as broker,
        aiohttp.ClientSession(f"http://127.0.0.1:{_PORT}", headers=headers) as session,
    ):
        channel = await broker.channel(publisher_confirms=True)
        await Topology().declare(channel)
        exchange = await channel.get_exchange(Topology().runs_exchange)
        await _until_ready(session)
        for number in range(_WARM_UP + events):
            await exchange.publish(_message(number), routing_key=RUN_COMPLETED)
            confirmed = time.perf_counter()
            await _until_readable(session, number)
            readable = time.perf_counter()
            await connection.execute("INSERT INTO committed VALUES ($1)", number)
            await _until_readable(session, number)
            limit = time.perf_counter()
            if number >= _WARM_UP:
                readable_ms.append((readable - confirmed) * 1e3)
                limit_ms.append((limit - readable) * 1e3)
            await asyncio.sleep(_PAUSE_S)
    await connection.close()
    return readable_ms, limit_ms


def _message(number: int) -> aio_pika.Message:
    from benchmarks.ingest import event  # the module imports this one

    return aio_pika.Message(event(number, _RESULTS), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


async def _until_ready(session: aiohttp.ClientSession) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        try:
            async with session.get("/v1/results?limit=1") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.1)
    raise TimeoutError("the API isn't ready")


async def _until_readable(session: aiohttp.ClientSession, number: int) -> None:
    """Request the results of the run, one request after the other, until they are in the response."""
    deadline = time.monotonic() + _DEADLINE_S
    while time.monotonic() < deadline:
        async with session.get("/v1/results", params={"run_id": f"run_{number}"}) as response:
            if response.status != 200:
                raise RuntimeError(f"GET /v1/results: {response.status}: {await response.text()}")
            if len((await response.json())["data"]) == _RESULTS:
                return
    raise TimeoutError(f"the results of run_{number} aren't readable")


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]
