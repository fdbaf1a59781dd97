"""Benchmark of deliveries to many endpoints of which one in ten is dead; `python -m benchmarks.webhooks` runs it.

Half of the dead endpoints hang, and half reject connections. Each endpoint has a loopback address of its own, so that
the dispatcher needs a connection for each one, as in production.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_double
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import aiohttp
import asyncpg
import orjson
import uvloop
from aiohttp import web

from benchmarks.servers import BenchmarkServers, consumer_process, cpu_s
from service.database import database
from service.database.database import Pool
from service.database.encryption import SecretCipher
from service.database.transactions import notifying_transaction
from service.dev.ports import choose_port
from service.domain.ids import OrgId, new_id
from service.events import store as events_store
from service.events.model import NewEvent
from service.organizations import store as organizations_store
from service.webhooks.model import DeliveryPolicy
from service.webhooks.operations import create_webhook
from service.webhooks.store import WebhookFields

BUDGET_LAG_S: Final = 1.0
BUDGET_RATIO: Final = 0.6
SETTINGS: Final = {"RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true"}
_PER_ORGANIZATION: Final = 100  # webhooks, the default maximum
_OBJECT: Final = orjson.dumps({"run_id": "run_1", "failing_cases": ["x" * 100] * 10}).decode()
_BACKLOG_PER_ENDPOINT: Final = 10
_TIMEOUT_S: Final = 60.0  # of each wait
_POLL_S: Final = 0.02

_spawn = multiprocessing.get_context("spawn")


class Addresses(NamedTuple):
    """The addresses of the endpoints: one in ten is dead, and hangs or rejects connections in turn."""

    port: int
    healthy: Sequence[str]
    hanging: Sequence[str]
    rejecting: Sequence[str]

    @classmethod
    def of(cls, endpoints: int) -> "Addresses":
        hosts = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(endpoints)]
        healthy = [host for number, host in enumerate(hosts) if number % 10]
        return cls(choose_port(), healthy, hosts[::20], hosts[10::20])

    def url(self, host: str) -> str:
        return f"http://{host}:{self.port}/hook"


class Arrivals:
    """The lags in ms of the posts to the healthy endpoints, which the receiver process measures."""

    def __init__(self, capacity: int) -> None:
        self._lags = _spawn.Array(c_double, capacity, lock=False)
        self._count: Any = _spawn.Value("q", 0, lock=False)
        self.ready = _spawn.Event()

    @property
    def count(self) -> int:
        return int(self._count.value)

    def add(self, lag_ms: float) -> None:
        if self.count < len(self._lags):
            self._lags[self.count] = lag_ms
        self._count.value += 1

    def since(self, start: int) -> list[float]:
        return sorted(self._lags[start : self.count])

    def wait(self, count: int) -> bool:
        """Wait for this number of posts. Return False if they don't arrive in time."""
        ends_at = time.monotonic() + _TIMEOUT_S
        while self.count < count and time.monotonic() < ends_at:
            time.sleep(_POLL_S)
        return self.count >= count


def receive(addresses: Addresses, arrivals: Arrivals) -> None:
    """Receive posts; the main function of the receiver process."""

    async def receive_post(request: web.Request) -> web.Response:
        arrived = datetime.now(UTC)
        created = datetime.fromisoformat(orjson.loads(await request.read())["created"])
        arrivals.add((arrived - created).total_seconds() * 1000)
        return web.Response()

    async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/hook", receive_post)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        for host in addresses.healthy:
            await web.TCPSite(runner, host, addresses.port).start()
        await asyncio.start_server(hang, addresses.hanging, addresses.port)
        arrivals.ready.set()
        await asyncio.Event().wait()

    uvloop.run(serve())


@contextmanager
def receiver(addresses: Addresses, arrivals: Arrivals) -> Iterator[None]:
    """Run the endpoints in a process of their own."""
    process = _spawn.Process(target=receive, args=(addresses, arrivals), daemon=True)
    process.start()
    try:
        if not arrivals.ready.wait(_TIMEOUT_S):
            raise TimeoutError(f"the receiver isn't ready after {_TIMEOUT_S:.0f} s")
        yield
    finally:
        process.terminate()
        process.join()


@dataclass
class Measurement:
    """What was offered to the endpoints, and what arrived at the healthy ones."""

    lags_ms: list[float]
    offered_per_s: float
    delivered_per_s: float
    dispatcher_cores: float
    backlog_per_s: float
    bare_per_s: float

    def print(self, endpoints: int) -> None:
        p50, p99 = (self.lags_ms[len(self.lags_ms) * percent // 100] for percent in (50, 99))
        print(f"{endpoints:,} endpoints, one in ten dead, {self.offered_per_s:,.0f} deliveries/s offered:")
        print(
            f"  lag of the healthy ones: p50 {p50:.0f} ms, p99 {p99:.0f} ms (budget {BUDGET_LAG_S * 1000:.0f}), "
            f"largest {self.lags_ms[-1]:.0f} ms"
        )
        print(
            f"  healthy endpoints: {self.delivered_per_s:,.0f} deliveries/s, {self.dispatcher_cores:.0%} of a core "
            "for the dispatcher"
        )
        print(
            f"  backlog of all: {self.backlog_per_s:,.0f} deliveries/s to the healthy endpoints, bare client loop "
            f"{self.bare_per_s:,.0f} posts/s; ratio: {self.backlog_per_s / self.bare_per_s:.2f} (budget {BUDGET_RATIO})"
        )


def measure(stack: BenchmarkServers, endpoints: int, per_second: int, seconds: float) -> Measurement:
    """Offer deliveries for some seconds, and then a backlog, to the endpoints of several organizations."""
    addresses = Addresses.of(endpoints)
    arrivals = Arrivals(int(per_second * seconds * 2) + endpoints * 2 * _BACKLOG_PER_ENDPOINT)
    with receiver(addresses, arrivals):
        org_ids = asyncio.run(_create_webhooks(stack.database_url, addresses))
        share = len(addresses.healthy) / endpoints
        with consumer_process(stack, "webhooks", **SETTINGS) as dispatcher:
            asyncio.run(_offer(stack.database_url, org_ids, len(org_ids)))  # warm-up: one event of each organization
            arrivals.wait(len(addresses.healthy))
            start, used_s, started = arrivals.count, cpu_s(dispatcher), time.monotonic()
            offered = int(per_second * seconds / (endpoints / len(org_ids)))
            duration_s = asyncio.run(_offer(stack.database_url, org_ids, offered, seconds))
            expected = round(offered * endpoints / len(org_ids) * share)
            if not arrivals.wait(start + expected):
                print(f"  only {arrivals.count - start:,} of {expected:,} deliveries arrived")
            elapsed_s = time.monotonic() - started
            lags_ms, cores = arrivals.since(start), (cpu_s(dispatcher) - used_s) / elapsed_s
        backlog_per_s = _measure_backlog(stack, org_ids, arrivals, len(addresses.healthy))
        bare_per_s = uvloop.run(_post_all(addresses, len(addresses.healthy) * _BACKLOG_PER_ENDPOINT))
    offered_per_s = offered * endpoints / len(org_ids) / duration_s
    return Measurement(lags_ms, offered_per_s, len(lags_ms) / elapsed_s, cores, backlog_per_s, bare_per_s)


def _measure_backlog(stack: BenchmarkServers, org_ids: Sequence[OrgId], arrivals: Arrivals, healthy: int) -> float:
    """Return the deliveries per second to the healthy endpoints from a backlog of all, without the first tenth."""
    start, expected = arrivals.count, healthy * _BACKLOG_PER_ENDPOINT
    asyncio.run(_offer(stack.database_url, org_ids, len(org_ids) * _BACKLOG_PER_ENDPOINT))
    with consumer_process(stack, "webhooks", **SETTINGS):
        arrivals.wait(start + expected // 10)
        before, started = arrivals.count, time.monotonic()
        arrivals.wait(start + expected)
        return (arrivals.count - before) / (time.monotonic() - started)


async def _create_webhooks(url: str, addresses: Addresses) -> Sequence[OrgId]:
    """Replace all webhooks. Each organization gets healthy and dead endpoints."""
    connection = await asyncpg.connect(url)
    await connection.execute("DELETE FROM deliveries; DELETE FROM webhooks")
    hosts = sorted([*addresses.healthy, *addresses.hanging, *addresses.rejecting], key=lambda host: host.split(".")[3])
    org_ids = []
    for start in range(0, len(hosts), _PER_ORGANIZATION):
        org_id = await organizations_store.create(connection, f"endpoints-{start}", "Endpoints")
        for host in hosts[start : start + _PER_ORGANIZATION]:
            fields = WebhookFields(addresses.url(host), "", ["run.failed"], None, True)
            async with connection.transaction():
                await create_webhook(connection, SecretCipher(), org_id, fields, _PER_ORGANIZATION)
        org_ids.append(org_id)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
    return org_ids


async def _offer(url: str, org_ids: Sequence[OrgId], count: int, seconds: float = 0) -> float:
    """Insert events at a constant rate, of one organization after the other. Return the duration in s."""
    pool = await database.open_pool(url, "results_worker", 1)
    started = time.monotonic()
    for number in range(count):
        await asyncio.sleep(started + seconds * number / count - time.monotonic())
        await _insert_event(pool, org_ids[number % len(org_ids)])
    await asyncio.sleep(started + seconds - time.monotonic())
    duration_s = time.monotonic() - started
    await database.close_pool(pool)
    return duration_s


async def _insert_event(pool: Pool, org_id: OrgId) -> None:
    async with pool.acquire() as connection, notifying_transaction(connection):
        await events_store.insert(connection, [NewEvent(org_id, new_id("evt"), "run.failed", None, None, _OBJECT)])


async def _post_all(addresses: Addresses, posts: int) -> float:
    """Return the posts per second to the healthy endpoints of a loop that only posts, with reused connections."""
    created = datetime.now(UTC).isoformat()
    body = orjson.dumps({"created": created, "data": {"object": orjson.Fragment(_OBJECT)}})
    urls = [addresses.url(host) for host in addresses.healthy]

    async def post(session: aiohttp.ClientSession, numbers: Iterator[int]) -> None:
        for number in numbers:
            target = urls[number % len(urls)]
            async with session.post(target, data=body, headers={"Content-Type": "application/json"}) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def post_some(count: int) -> None:
            numbers: Any = iter(range(count))
            await asyncio.gather(*(post(session, numbers) for _ in range(DeliveryPolicy().max_concurrency)))

        await post_some(len(urls))  # the backlog is measured without its first tenth, in which connections are opened
        started = time.monotonic()
        await post_some(posts)
        return posts / (time.monotonic() - started)
