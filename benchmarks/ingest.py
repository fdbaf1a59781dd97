"""Benchmark of ingest from RabbitMQ to the commit, relative to `psql \\copy` of the same rows into the same table.

    python -m benchmarks.ingest [--events 3000] [--results 200] [--processes 1] [--stages]
    python -m benchmarks.ingest --events 20000 --results 5    # many small events
    python -m benchmarks.ingest --latency 300                 # single events on an idle system

Budget: 0.4 of the psql rate with one consumer process, 0.45 with two. The rate of events is also relative to that of a
client that reads and acknowledges the same messages without storing them. The CPU time of the consumers and of their
PostgreSQL processes depends less on other programs on the machine than the rates.
"""

import argparse
import asyncio
import signal
import subprocess
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import aio_pika
import asyncpg
import orjson
import uvloop

from benchmarks import ingest_latency, ingest_stages
from benchmarks.cpu import backends_ns, process_ns
from benchmarks.servers import BenchmarkServers, consumer_process, peak_rss_mib, servers
from consumers.topology import RUN_COMPLETED, Topology
from service.organizations import store as organizations_store
from service.tasks.model import RUNS

CASES: Final = 200
WINDOW: Final = 100
WARM_UP: Final = 50  # events, for imports, connections, and the cases of the project
COPIES: Final = 3  # the median is used
FIRST_COMPLETED_AT: Final = datetime(2026, 5, 1, tzinfo=UTC)  # of the first run
RUN_INTERVAL: Final = timedelta(seconds=20)
BUDGET: Final = {1: 0.4, 2: 0.45}
_FAILING: Final = 100  # one of this number of results fails
_PREFETCH: Final = 200  # of the client that stores nothing


def event(number: int, count: int = CASES) -> bytes:
    """Return an event with a run of `count` results, of which one percent fails."""
    results = [
        {
            "case_id": f"tc_{case:04}",
            "suite": f"suite.{case // 20}",
            "name": f"behaves as specified, number {case}",
            "file": f"tests/test_{case // 20}.py",
            "status": "passed",
            "duration_ms": (case * 37 + number) % 5000,
        }
        for case in range(count)
    ]
    for case in range(count):
        if (number * count + case) % _FAILING == 7:
            failure = {"type": "AssertionError", "message": "expected 200 got 503"}
            results[case] |= {"status": "failed", "failure": failure}
    run = {"run_id": f"run_{number}", "project_id": "shop", "environment": "staging", "branch": "main"}
    return orjson.dumps(
        {
            "specversion": "1.0", "type": "run.completed", "source": "/benchmark", "id": str(number),
            "time": f"{FIRST_COMPLETED_AT + number * RUN_INTERVAL:%Y-%m-%dT%H:%M:%SZ}",
            "data": {"organization": "acme", "run": run, "results": results},
        }
    )  # fmt: skip


async def publish(url: str, numbers: range, results: int = CASES) -> None:
    """Publish events, and wait for the confirms of each window."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        topology = Topology()
        await topology.declare(channel)
        exchange = await channel.get_exchange(topology.runs_exchange)
        for start in range(numbers.start, numbers.stop, WINDOW):
            window = range(start, min(start + WINDOW, numbers.stop))
            bodies = [event(number, results) for number in window]
            messages = [aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for body in bodies]
            await asyncio.gather(*(exchange.publish(message, routing_key=RUN_COMPLETED) for message in messages))


async def until_stored(url: str, runs: int) -> None:
    """Wait until this number of runs is committed. Counts the runs every 50 ms."""
    connection = await asyncpg.connect(url)
    while await connection.fetchval("SELECT count(*) FROM runs") < runs:  # noqa: ASYNC110 - polls the database
        await asyncio.sleep(0.05)
    await connection.close()


class Used(NamedTuple):
    """CPU times in ns."""

    consumers: int
    backends: int  # the PostgreSQL processes of the connections of the consumers

    def since(self, earlier: "Used") -> "Used":
        """Return the difference."""
        return Used(self.consumers - earlier.consumers, self.backends - earlier.backends)


class Ingested(NamedTuple):
    """The measured ingest of all events."""

    duration_s: float
    used: Used


def measure_ingest(
    running: BenchmarkServers, count: int, results: int, processes: int, stages: Path | None
) -> Ingested:
    """Measure from a full queue to the last commit. Writes a sampled profile of the first consumer to `stages`."""
    commands = [ingest_stages.command(stages) if stages else ("-m", "consumers")]
    commands += [("-m", "consumers")] * (processes - 1)
    with ExitStack() as exit_stack:
        asyncio.run(publish(running.amqp_url, range(WARM_UP), results))
        started = [exit_stack.enter_context(consumer_process(running, "runs", command=each)) for each in commands]
        asyncio.run(until_stored(running.database_url, WARM_UP))
        time.sleep(0.5)
        for process in started:
            process.send_signal(signal.SIGSTOP)  # fill the queue first, so that publishing is not measured
        asyncio.run(publish(running.amqp_url, range(WARM_UP, WARM_UP + count), results))
        before = asyncio.run(_used(running.database_url, started))
        if stages:
            started[0].send_signal(ingest_stages.START)
        started_at = time.perf_counter()
        for process in started:
            process.send_signal(signal.SIGCONT)
        asyncio.run(until_stored(running.database_url, WARM_UP + count))
        duration_s = time.perf_counter() - started_at
        used = asyncio.run(_used(running.database_url, started)).since(before)
        print(f"peak RSS of a consumer: {max(map(peak_rss_mib, started)):.0f} MiB")
    return Ingested(duration_s, used)


async def _used(url: str, consumers: list[subprocess.Popen[bytes]]) -> Used:
    connection = await asyncpg.connect(url)
    backends = await backends_ns(connection, "results_worker")
    await connection.close()
    return Used(sum(process_ns(process.pid) for process in consumers), backends)


def measure_copy(running: BenchmarkServers) -> float:
    """Return the rows per second of psql for the rows that ingest has written, in the same order and table."""
    file = running.folder / "results.copy"
    running.psql(f"\\copy (SELECT * FROM results ORDER BY run_key, case_key) TO '{file}'")
    rows = file.read_bytes().count(b"\n")
    return rows / median(copy_s(running, file) for _ in range(COPIES))


def copy_s(running: BenchmarkServers, file: Path) -> float:
    """Return the time that psql takes to copy the file."""
    running.psql("TRUNCATE results")
    started_at = time.perf_counter()
    running.psql(f"\\copy results FROM '{file}'")
    return time.perf_counter() - started_at


async def measure_reading(url: str, count: int, results: int) -> float:
    """Return the messages per second that a client reads and acknowledges, from a full queue."""
    await publish(url, range(count), results)
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.set_qos(_PREFETCH)
        queue = await channel.get_queue(Topology().queue(RUNS), ensure=False)
        read = 0
        started_at = time.perf_counter()
        async with queue.iterator() as messages:
            async for message in messages:
                read += 1
                if read % (_PREFETCH // 2) == 0 or read == count:
                    await message.ack(multiple=True)
                if read == count:
                    break
        return count / (time.perf_counter() - started_at)


async def create_organization(url: str) -> None:
    """Create the organization of the events."""
    connection = await asyncpg.connect(url)
    await organizations_store.create(connection, "acme", "Acme")
    await connection.close()


def measure_throughput(running: BenchmarkServers, arguments: argparse.Namespace) -> None:
    """Measure the ingest of a full queue, and print the ratios."""
    events, results, processes = arguments.events, arguments.results, arguments.processes
    stages = running.folder / "stages.json" if arguments.stages else None
    duration_s, used = measure_ingest(running, events, results, processes, stages)
    copy = measure_copy(running)
    reading = uvloop.run(measure_reading(running.amqp_url, min(events, 5_000), results))
    total = events * results
    print(f"CPU of the consumers:            {used.consumers / total / 1e3:.2f} us per result")
    print(f"CPU of their PostgreSQL backends: {used.backends / total / 1e3:.2f} us per result")
    if stages:
        ingest_stages.print_stages(stages, used.consumers / total / 1e3, used.consumers / events / 1e3)
    rate = total / duration_s
    print(f"ingest, {processes} process(es): {rate:,.0f} results/s, {events / duration_s:,.0f} events/s")
    print(f"psql \\copy:               {copy:,.0f} rows/s")
    print(f"reading without storing:  {reading:,.0f} events/s, ratio {events / duration_s / reading:.2f}")
    budget = f" (budget {BUDGET.get(processes, BUDGET[2])})" if results == CASES else ""
    print(f"ratio: {rate / copy:.2f}{budget}")


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--results", type=int, default=CASES, help="results of each event")
    parser.add_argument("--processes", type=int, default=1, help="consumer processes")
    parser.add_argument("--stages", action="store_true", help="sample the stages of one consumer, which slows it down")
    parser.add_argument("--latency", type=int, metavar="EVENTS", help="measure only the latency of this many events")
    arguments = parser.parse_args()
    with servers() as running:
        asyncio.run(create_organization(running.database_url))
        if arguments.latency:
            ingest_latency.measure(running, arguments.latency)
        else:
            measure_throughput(running, arguments)


if __name__ == "__main__":
    main()
