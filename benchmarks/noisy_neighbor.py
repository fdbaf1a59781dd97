"""Isolation of organizations: the p99 of a quiet organization while another one sends the largest allowed load.

    python -m benchmarks.noisy_neighbor [--alternations 3] [--seconds 15] [--load streams exports …]

Each process has a session of its own: Linux divides CPU time between sessions (autogroup) as between containers or
systemd units. As in compose.yaml, one background process handles large events, reports, and exports, and has a lower
CPU weight. So have the clients of the noisy organization, because clients usually run on other machines.

The noisy organization has 1,000 streams, 100 exports of its results, reports with the largest number of results, large
events, labels at their limits, slow uploads, and 100 webhooks whose endpoints hang or reject connections. PostgreSQL
has WAL files for all phases, as a server that runs for longer: it reuses those from before its last checkpoint.

Budget: each noisy p99 is at most 3 times the quiet one.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final
from uuid import uuid4

import aio_pika
import aiohttp
import asyncpg
import orjson
from aiohttp import web

from benchmarks import noise
from benchmarks.noise import NoiseTargets
from benchmarks.servers import BenchmarkServers, consumer_process, cpu_s, servers
from consumers.topology import RUN_COMPLETED, Topology
from service.database import database
from service.database.encryption import SecretCipher
from service.dev.ports import choose_port
from service.dev.programs import responds_ok
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from service.ingest.batch_items import EventMessage
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.organizations import store as organizations_store
from service.webhooks.operations import create_webhook
from service.webhooks.store import WebhookFields

BUDGET: Final = 3.0
QUIET: Final = "quiet"
RUNS: Final = 100  # of the quiet organization, before the measurement
RESULTS: Final = 20  # of each run
EXPORTED_EVENTS: Final = 5  # large events whose results each export of the noisy organization contains
CONSUMERS: Final[Mapping[str, tuple[Sequence[str], Mapping[str, str]]]] = {
    "runs": (("runs",), {"RESULTS_EVENT_SIZES": "small"}),
    "background": (("runs", "reports", "exports"), {"RESULTS_EVENT_SIZES": "large"}),
    "webhooks": (("webhooks",), {}),
    "relay upkeep": (("relay", "upkeep"), {}),
}
BACKGROUND_NICE: Final = 15  # of its session: CPU weight 36 instead of 1,024, like `cpu_shares` in compose.yaml
WARM_UP_S: Final = 4.0
LIST_INTERVAL_S: Final = 0.05
EVENT_INTERVAL_S: Final = 0.2
POLL_S: Final = 0.004
TIMEOUT_S: Final = 60.0
LISTS: Final = {"GET /v1/results": "/v1/results?limit=100", "GET /v1/runs": "/v1/runs?limit=100"}
INGEST, WEBHOOK = "publisher confirm → run is stored", "run is stored → webhook is received"
MEASURES: Final = (*LISTS, INGEST, WEBHOOK)
WAL_FILES: Final = 40  # of 16 MiB; one alternation writes about 8

Samples = dict[str, list[float]]  # ms by measure


@dataclass
class Tenants:
    """The two organizations, their keys, and the ports that the processes use."""

    port: int = field(default_factory=choose_port)
    hook_port: int = field(default_factory=choose_port)
    hanging_port: int = field(default_factory=choose_port)
    rejecting_port: int = field(default_factory=choose_port)
    quiet: OrgId = field(default=OrgId(0))
    key: str = ""
    noisy_keys: list[str] = field(default_factory=list)

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def create(self, url: str, noisy_webhooks: int) -> None:
        """Create the organizations with keys, webhooks, and results."""
        connection = await asyncpg.connect(url)
        self.quiet = await organizations_store.create(connection, QUIET, QUIET)
        self.key = (await create_key(connection, self.quiet, "lists", "viewer")).key
        await _add_webhook(connection, self.quiet, self.hook_port)
        noisy = await organizations_store.create(connection, noise.ORGANIZATION, noise.ORGANIZATION)
        for _ in range(noise.KEYS):
            self.noisy_keys.append((await create_key(connection, noisy, "noise", "engineer")).key)
        for number in range(noisy_webhooks):
            await _add_webhook(connection, noisy, self.rejecting_port if number % 2 else self.hanging_port)
        await connection.close()
        pool = await database.open_pool(url, "results_worker", 2)
        ingest = RunIngest(BatchStore(pool, timedelta(days=30)))
        for number in range(RUNS):
            await ingest.ingest([EventMessage(event(f"stored-{number}"))])
        for _ in range(EXPORTED_EVENTS):
            await ingest.ingest([EventMessage(noise.large_event(noise.RESULTS_OF_LARGE_EVENT))])
        await database.close_pool(pool)


async def _add_webhook(connection: asyncpg.Connection, org_id: OrgId, port: int) -> None:
    fields = WebhookFields(f"http://127.0.0.1:{port}/hook", "", ["run.completed"], None, True)
    await create_webhook(connection, SecretCipher(), org_id, fields, noise.WEBHOOKS)


def event(run_id: str) -> bytes:
    """Return an event of the quiet organization."""
    results = [{"name": f"case {number}", "status": "passed", "duration_ms": 5} for number in range(RESULTS)]
    data = {"organization": QUIET, "run": {"run_id": run_id, "project_id": "shop"}, "results": results}
    return orjson.dumps(
        {
            "specversion": "1.0", "type": "run.completed", "source": "/quiet", "id": uuid4().hex,
            "time": datetime.now(UTC), "data": data,
        }
    )  # fmt: skip


@contextmanager
def processes(stack: BenchmarkServers, tenants: Tenants) -> Iterator[Mapping[str, subprocess.Popen[bytes]]]:
    """Run the API and the consumers while the block runs, and yield them by name."""
    settings = {
        "RESULTS_ARTIFACTS_URL": (stack.folder / "files").as_uri(),
        "RESULTS_HTTP_PORT": str(tenants.port),
        "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true",
        "RESULTS_LOG_LEVEL": "error",
    }
    with ExitStack() as started:
        consumers = {
            name: started.enter_context(consumer_process(stack, *roles, **settings, **own))
            for name, (roles, own) in CONSUMERS.items()
        }
        Path(f"/proc/{consumers['background'].pid}/autogroup").write_text(str(BACKGROUND_NICE))
        api = subprocess.Popen(
            [sys.executable, "-m", "service", "api"], env=stack.environment(**settings), start_new_session=True
        )
        started.callback(api.wait, 60)
        started.callback(api.terminate)
        while not responds_ok("127.0.0.1", tenants.port, "/readyz"):
            time.sleep(0.1)
        yield {"api": api, **consumers}


async def measure(stack: BenchmarkServers, tenants: Tenants, seconds: float) -> Samples:
    """Measure everything for the quiet organization at the same time, after a warm-up."""
    samples: Samples = defaultdict(list)
    async with receiving(tenants.hook_port) as arrivals:
        await _measure_events(stack, tenants, defaultdict(list), arrivals, time.perf_counter() + WARM_UP_S)
        ends_at = time.perf_counter() + seconds
        await asyncio.gather(
            _measure_lists(tenants, samples, ends_at), _measure_events(stack, tenants, samples, arrivals, ends_at)
        )
    return samples


async def _measure_lists(tenants: Tenants, samples: Samples, ends_at: float) -> None:
    headers = {"Authorization": f"Bearer {tenants.key}"}
    async with aiohttp.ClientSession(tenants.api_url, headers=headers) as http:
        while time.perf_counter() < ends_at:
            for name, path in LISTS.items():
                started = time.perf_counter()
                async with http.get(path) as response:
                    response.raise_for_status()
                    await response.read()
                samples[name].append((time.perf_counter() - started) * 1000)
                await asyncio.sleep(LIST_INTERVAL_S)


async def _measure_events(
    stack: BenchmarkServers, tenants: Tenants, samples: Samples, arrivals: dict[str, asyncio.Future[float]],
    ends_at: float,
) -> None:  # fmt: skip
    database_connection = await asyncpg.connect(stack.database_url)
    async with await aio_pika.connect(stack.amqp_url) as broker, asyncio.TaskGroup() as waiting:
        channel = await broker.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(Topology().runs_exchange)
        while time.perf_counter() < ends_at:
            run_id = uuid4().hex
            arrivals[run_id] = asyncio.get_running_loop().create_future()
            await exchange.publish(aio_pika.Message(event(run_id)), routing_key=RUN_COMPLETED)
            confirmed = time.perf_counter()
            stored = await _until_stored(database_connection, tenants.quiet, run_id)
            samples[INGEST].append((stored - confirmed) * 1000)
            waiting.create_task(_record_arrival(samples, stored, arrivals[run_id]))
            await asyncio.sleep(EVENT_INTERVAL_S)
    await database_connection.close()


async def _until_stored(connection: asyncpg.Connection, org_id: OrgId, run_id: str) -> float:
    """Return when the run is visible to another transaction."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await connection.fetchval("SELECT 1 FROM runs WHERE org_id = $1 AND run_id = $2", org_id, run_id):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
    return time.perf_counter()


async def _record_arrival(samples: Samples, stored: float, arrival: asyncio.Future[float]) -> None:
    arrived = await asyncio.wait_for(arrival, TIMEOUT_S)
    samples[WEBHOOK].append(max(0.0, arrived - stored) * 1000)


@asynccontextmanager
async def receiving(port: int) -> AsyncIterator[dict[str, asyncio.Future[float]]]:
    """Receive the webhooks of the quiet organization, and yield the futures of their arrival by run."""
    arrivals: dict[str, asyncio.Future[float]] = {}

    async def receive(request: web.Request) -> web.Response:
        arrived = time.perf_counter()
        run_id = orjson.loads(await request.read())["data"]["object"]["run_id"]
        if run_id in arrivals and not arrivals[run_id].done():
            arrivals[run_id].set_result(arrived)
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield arrivals
    await runner.cleanup()


def create_wal_files(stack: BenchmarkServers) -> None:
    """Let PostgreSQL recycle WAL files. A new server would create one of 16 MiB every few seconds under load."""
    fill_and_switch = ("SELECT pg_logical_emit_message(true, '', '')", "SELECT pg_switch_wal()")
    stack.psql("\\o /dev/null", *fill_and_switch * WAL_FILES, "CHECKPOINT")


async def declare_topology(url: str) -> None:
    """Create the exchange and the queues, so that the first event doesn't arrive before them."""
    async with await aio_pika.connect(url) as connection:
        await Topology().declare(await connection.channel())


def clean_up(stack: BenchmarkServers) -> None:
    """Remove the unfinished work of the noisy organization, so that it doesn't disturb the next quiet measurement."""
    stack.psql(
        "UPDATE receipts SET status = 'rejected', due_at = NULL, lease_until = NULL"
        " WHERE status IN ('queued', 'processing')",
        "UPDATE exports SET status = 'canceled' WHERE status IN ('queued', 'running')",
        "UPDATE deliveries SET due_at = NULL, status = 'exhausted' WHERE due_at IS NOT NULL",
        "UPDATE webhooks SET failures = 0, paused_until = NULL, failing_since = NULL",
        "DELETE FROM outbox",
        "VACUUM ANALYZE",
    )
    asyncio.run(_purge(stack.amqp_url))


async def _purge(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        topology = Topology()
        for queue in (*topology.queues, topology.large_queue(topology.runs_queue)):
            await (await channel.get_queue(queue)).purge()


def p99(samples: list[float]) -> float:
    """Return the 99th percentile in ms."""
    return quantiles(samples, n=100, method="inclusive")[98]


def print_table(quiet: Samples, noisy: Samples) -> None:
    """Print one row for each measure."""
    print(f"| {'measure':36} | quiet p99 | noisy p99 | ratio | limit |")
    print(f"|{'-' * 38}|{'-' * 11}|{'-' * 11}|{'-' * 7}|{'-' * 7}|")
    for measure_name in MEASURES:
        before, after = p99(quiet[measure_name]), p99(noisy[measure_name])
        print(f"| {measure_name:36} | {before:6.1f} ms | {after:6.1f} ms | {after / before:5.2f} | {BUDGET:5.1f} |")


def run_phase(stack: BenchmarkServers, tenants: Tenants, seconds: float, load: NoiseTargets | None) -> Samples:
    """Start all processes, with or without the load, and measure."""
    with ExitStack() as started:
        running = started.enter_context(processes(stack, tenants))
        counts = started.enter_context(noise.noise(load)) if load else {}
        before, started_at = {name: cpu_s(process) for name, process in running.items()}, time.perf_counter()
        samples = asyncio.run(measure(stack, tenants, seconds))
        duration_s = time.perf_counter() - started_at
        used = {name: f"{(cpu_s(process) - before[name]) / duration_s:.0%}" for name, process in running.items()}
    print(f"load average {os.getloadavg()[0]:.0f}, CPU of one core:", used)
    if counts:
        print("load:", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    return samples


def main() -> None:
    """Alternate between quiet and noisy measurements, and print the ratio of each measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15)
    kinds_help = f"kinds of the load, to find out which one causes a delay; default: {' '.join(noise.KINDS)}"
    parser.add_argument("--load", nargs="+", choices=noise.KINDS, default=noise.KINDS, metavar="KIND", help=kinds_help)
    arguments = parser.parse_args()
    all_samples: dict[bool, Samples] = {False: defaultdict(list), True: defaultdict(list)}
    with servers() as stack:
        tenants = Tenants()
        kinds = frozenset(arguments.load)
        asyncio.run(tenants.create(stack.database_url, noise.WEBHOOKS if "webhooks" in kinds else 0))
        asyncio.run(declare_topology(stack.amqp_url))
        create_wal_files(stack)
        report = stack.folder / "report.json.gz"
        noise.write_report(report)
        targets = NoiseTargets(kinds, tenants.api_url, stack.amqp_url, tenants.noisy_keys, report, tenants.hanging_port)
        phase = partial(run_phase, stack, tenants, arguments.seconds)
        for number in range(arguments.alternations):
            for is_noisy in (False, True):
                samples = phase(targets if is_noisy else None)
                for name, values in samples.items():
                    all_samples[is_noisy][name] += values
                print(number + 1, "noisy" if is_noisy else "quiet", {k: round(p99(v)) for k, v in samples.items()})
                clean_up(stack)
    print_table(all_samples[False], all_samples[True])


if __name__ == "__main__":
    main()
