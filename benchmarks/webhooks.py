"""Benchmark of webhooks: latency from a published run-completion event to the POST, and throughput of a dispatcher.

    python -m benchmarks.webhooks [--only PART…] [--runs 300] [--deliveries 20000] [--endpoints 1000]
                                  [--rate 1000] [--seconds 30]

Budgets: latency p50 50 ms and p99 250 ms without load; throughput at least 0.6 of a bare aiohttp client loop that posts
the same bodies to the same receiver with the same concurrency. With 1,000 endpoints of which one in ten is dead, and
1,000 deliveries/s, the p99 of the lag of the healthy ones is at most 1 s.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double, c_int64
from typing import Any, Final

import aio_pika
import aiohttp
import asyncpg
import orjson
import uvloop
from aiohttp import web

from benchmarks import dead_endpoints
from benchmarks.ingest import create_organization, event
from benchmarks.servers import BenchmarkServers, consumer_process, servers
from consumers.topology import RUN_COMPLETED, Topology
from service.database.encryption import SecretCipher
from service.domain.ids import OrgId
from service.webhooks.model import DeliveryPolicy
from service.webhooks.operations import create_webhook
from service.webhooks.store import WebhookFields

BUDGET_P50_MS: Final = 50
BUDGET_P99_MS: Final = 250
BUDGET_RATIO: Final = 0.6
WARM_UP: Final = 20
PAUSE_S: Final = 0.05
PARTS: Final = ("one-endpoint", "many-endpoints")
ALLOWED: Final = {"RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true"}

_spawn = multiprocessing.get_context("spawn")


class Counter:
    """The number of posts that the receiver process has counted, shared with this process."""

    def __init__(self) -> None:
        self.count = _spawn.Value(c_int64, 0)
        self.last_at = _spawn.Value(c_double, 0.0)
        self.port = _spawn.Value(c_int64, 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port.value}/hook"

    def wait(self, count: int) -> float:
        """Wait for `count` posts since the last `clear`, and return the time of the last one."""
        while self.count.value < count:
            time.sleep(0.01)
        return float(self.last_at.value)

    def clear(self) -> None:
        self.count.value = 0


def receive(counter: Counter) -> None:
    """Count posts; the main function of the receiver process."""

    async def count_post(request: web.Request) -> web.Response:
        await request.read()
        counter.count.value += 1
        counter.last_at.value = time.monotonic()
        return web.Response()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/hook", count_post)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        counter.port.value = runner.addresses[0][1]
        await asyncio.Event().wait()

    uvloop.run(serve())


@contextmanager
def receiver() -> Iterator[Counter]:
    """Run a receiver in its own process."""
    counter = Counter()
    process = _spawn.Process(target=receive, args=(counter,), daemon=True)
    process.start()
    while not counter.port.value:
        time.sleep(0.01)
    try:
        yield counter
    finally:
        process.terminate()
        process.join()


async def register(url: str, target: str) -> None:
    connection = await asyncpg.connect(url)
    await create_webhook(
        connection, SecretCipher(), OrgId(1), WebhookFields(target, "", ["run.failed"], None, True), 100
    )
    await connection.close()


async def measure_latency(stack: BenchmarkServers, runs: int) -> list[float]:
    """Return the sorted latencies in ms from the start of publishing to the arrival of the POST, one run at a time."""
    arrivals: asyncio.Queue[float] = asyncio.Queue()

    async def receive_post(request: web.Request) -> web.Response:
        arrivals.put_nowait(time.perf_counter())
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive_post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await register(stack.database_url, f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
    async with await aio_pika.connect(stack.amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await Topology().declare(channel)
        exchange = await channel.get_exchange(Topology().runs_exchange)
        latencies_ms = []
        for number in range(WARM_UP + runs):
            message = aio_pika.Message(event(number), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            published = time.perf_counter()
            await exchange.publish(message, routing_key=RUN_COMPLETED)
            latencies_ms.append((await arrivals.get() - published) * 1000)
            await asyncio.sleep(PAUSE_S)
    await runner.cleanup()
    return sorted(latencies_ms[WARM_UP:])


async def fill(stack: BenchmarkServers, deliveries: int, target: str) -> bytes:
    """Insert events with a due delivery to this endpoint each, and return a request body of their size."""
    connection = await asyncpg.connect(stack.database_url)
    await connection.execute("DELETE FROM webhooks")
    await register(stack.database_url, target)
    data = await connection.fetchval("SELECT data::text FROM events WHERE type = 'run.failed' LIMIT 1")
    await connection.execute(
        "WITH new AS (INSERT INTO events (org_id, event_id, type, data)"
        " SELECT 1, 'evt_' || lpad(to_hex(n), 32, '0'), 'run.failed', $2::json FROM generate_series(1, $1::int) n"
        " RETURNING event_id)"
        " INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)"
        " SELECT 1, webhook_id, delivery_id(webhook_id, event_id), event_id FROM new, webhooks",
        deliveries,
        data,
    )
    await connection.execute("ANALYZE")
    await connection.close()
    return orjson.dumps({"id": "evt_" + "0" * 32, "type": "run.failed", "data": {"object": orjson.Fragment(data)}})


def measure_deliveries(stack: BenchmarkServers, deliveries: int, counter: Counter) -> float:
    """Return the deliveries per second of one dispatcher, without its start."""
    warm_up = deliveries // 10
    counter.clear()
    with consumer_process(stack, "webhooks", **ALLOWED):
        counter.wait(warm_up)
        started, before = time.monotonic(), counter.count.value
        duration_s = counter.wait(deliveries) - started
        wait_until_recorded(stack)
    return float((deliveries - before) / duration_s)


def wait_until_recorded(stack: BenchmarkServers) -> None:
    async def wait() -> None:
        connection = await asyncpg.connect(stack.database_url)
        while await connection.fetchval("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await connection.close()

    asyncio.run(wait())


def measure_bare(posts: int, body: bytes, counter: Counter) -> float:
    """Return the posts per second of a loop that only posts."""

    async def post(session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for _ in numbers:
            async with session.post(counter.url, data=body, headers={"Content-Type": "application/json"}) as response:
                await response.read()

    async def post_all() -> float:
        numbers = iter(range(posts))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            started = time.monotonic()
            await asyncio.gather(*(post(session, numbers) for _ in range(DeliveryPolicy().max_concurrency)))
            return posts / (time.monotonic() - started)

    return uvloop.run(post_all())


def print_latency(stack: BenchmarkServers, runs: int) -> None:
    with consumer_process(stack, "runs", "webhooks", "relay", **ALLOWED):
        latencies_ms = asyncio.run(measure_latency(stack, runs))
    p50, p99 = latencies_ms[len(latencies_ms) // 2], latencies_ms[len(latencies_ms) * 99 // 100]
    print(f"published → POST: p50 {p50:.1f} ms (budget {BUDGET_P50_MS}), p99 {p99:.1f} ms (budget {BUDGET_P99_MS})")


def print_throughput(stack: BenchmarkServers, deliveries: int) -> None:
    with receiver() as counter:
        body = asyncio.run(fill(stack, deliveries, counter.url))
        dispatcher_rate = measure_deliveries(stack, deliveries, counter)
        bare_rate = measure_bare(deliveries, body, counter)
    print(f"dispatcher:        {dispatcher_rate:,.0f} deliveries/s of {len(body)} bytes, claimed, signed, and recorded")
    print(f"bare client loop:  {bare_rate:,.0f} posts/s")
    print(f"ratio: {dispatcher_rate / bare_rate:.2f} (budget {BUDGET_RATIO})")


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=" or ".join(PARTS))
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--deliveries", type=int, default=20_000)
    parser.add_argument("--endpoints", type=int, default=1_000)
    parser.add_argument(
        "--rate", type=int, default=1_000, help="deliveries per second that are offered to the endpoints"
    )
    parser.add_argument("--seconds", type=float, default=30)
    options: Any = parser.parse_args()
    with servers() as stack:
        asyncio.run(create_organization(stack.database_url))
        if "one-endpoint" in options.only:
            print_latency(stack, options.runs)
            print_throughput(stack, options.deliveries)
        if "many-endpoints" in options.only:
            measured = dead_endpoints.measure(stack, options.endpoints, options.rate, options.seconds)
            measured.print(options.endpoints)


if __name__ == "__main__":
    main()
