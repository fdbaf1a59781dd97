"""Benchmark of ingest from RabbitMQ to the commit, relative to `psql \\copy` of the same rows into the same table.

    python -m benchmarks.ingest [--events 3000] [--processes 1]

Budget: 0.25 of the psql rate with one consumer process, 0.4 with two.
"""

import argparse
import asyncio
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import aio_pika
import asyncpg
import orjson

from benchmarks.servers import BenchmarkServers, consumer_process, cpu_s, peak_rss_mib, servers
from consumers.topology import RUN_COMPLETED, Topology
from service.store import organizations

CASES: Final = 200
WINDOW: Final = 100
WARM_UP: Final = 50  # events, for imports, connections, and the cases of the project
COPIES: Final = 3  # the median is used
FIRST_COMPLETED_AT: Final = datetime(2026, 5, 1, tzinfo=UTC)  # of the first run
RUN_INTERVAL: Final = timedelta(seconds=20)
BUDGET: Final = {1: 0.25, 2: 0.4}


def event(number: int) -> bytes:
    """Return an event with a run of 200 cases, of which two fail."""
    results = [
        {
            "case_id": f"tc_{case:04}",
            "suite": f"suite.{case // 20}",
            "name": f"behaves as specified, number {case}",
            "file": f"tests/test_{case // 20}.py",
            "status": "passed",
            "duration_ms": (case * 37 + number) % 5000,
        }
        for case in range(CASES)
    ]
    for case in (7, 120):
        results[case] |= {"status": "failed", "failure": {"type": "AssertionError", "message": "expected 200 got 503"}}
    run = {"run_id": f"run_{number}", "project_id": "shop", "environment": "staging", "branch": "main"}
    return orjson.dumps(
        {
            "specversion": "1.0", "type": "run.completed", "source": "/benchmark", "id": str(number),
            "time": f"{FIRST_COMPLETED_AT + number * RUN_INTERVAL:%Y-%m-%dT%H:%M:%SZ}",
            "data": {"organization": "acme", "run": run, "results": results},
        }
    )  # fmt: skip


async def publish(url: str, numbers: range) -> None:
    """Publish events, and wait for the confirms of each window."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        topology = Topology()
        await topology.declare(channel)
        exchange = await channel.get_exchange(topology.runs_exchange)
        for start in range(numbers.start, numbers.stop, WINDOW):
            window = range(start, min(start + WINDOW, numbers.stop))
            messages = [aio_pika.Message(event(n), delivery_mode=aio_pika.DeliveryMode.PERSISTENT) for n in window]
            await asyncio.gather(*(exchange.publish(message, routing_key=RUN_COMPLETED) for message in messages))


async def until_stored(url: str, runs: int) -> None:
    """Wait until this number of runs is committed. Counts the runs every 50 ms."""
    connection = await asyncpg.connect(url)
    while await connection.fetchval("SELECT count(*) FROM runs") < runs:  # noqa: ASYNC110 - polls the database
        await asyncio.sleep(0.05)
    await connection.close()


def measure_ingest(running: BenchmarkServers, events: int, processes: int) -> float:
    """Return the results per second, from a full queue to the last commit."""
    with ExitStack() as exit_stack:
        asyncio.run(publish(running.amqp_url, range(WARM_UP)))
        started = [exit_stack.enter_context(consumer_process(running, "runs")) for _ in range(processes)]
        asyncio.run(until_stored(running.database_url, WARM_UP))
        time.sleep(0.5)
        publishing = time.perf_counter()
        for process in started:
            process.send_signal(19)  # SIGSTOP: fill the queue first, so that publishing is not measured
        asyncio.run(publish(running.amqp_url, range(WARM_UP, WARM_UP + events)))
        print(f"published {events} events in {time.perf_counter() - publishing:.1f} s")
        started_at, cpu = time.perf_counter(), sum(map(cpu_s, started))
        for process in started:
            process.send_signal(18)  # SIGCONT
        asyncio.run(until_stored(running.database_url, WARM_UP + events))
        duration_s = time.perf_counter() - started_at
        used = sum(map(cpu_s, started)) - cpu
        print(f"CPU of the consumers: {used / (events * CASES) * 1e6:.1f} us per result")
        print(f"peak RSS of a consumer: {max(map(peak_rss_mib, started)):.0f} MiB")
    return events * CASES / duration_s


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


async def create_organization(url: str) -> None:
    """Create the organization of the events."""
    connection = await asyncpg.connect(url)
    await organizations.create(connection, "acme", "Acme")
    await connection.close()


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    with servers() as running:
        asyncio.run(create_organization(running.database_url))
        ingest = measure_ingest(running, arguments.events, arguments.processes)
        copy = measure_copy(running)
    budget = BUDGET.get(arguments.processes, BUDGET[2])
    print(f"ingest, {arguments.processes} process(es): {ingest:,.0f} results/s")
    print(f"psql \\copy:               {copy:,.0f} rows/s")
    print(f"ratio: {ingest / copy:.2f} (budget {budget})")


if __name__ == "__main__":
    main()
