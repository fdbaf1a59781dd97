"""Ingest, RabbitMQ to committed, against `psql \\copy` of the same rows into the same table in the same run.

    python -m benchmarks.ingest [--events 3000] [--processes 1]

Budget: 0.25 of psql with one consumer process, 0.4 with two.
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
WARM_UP: Final = 50  # events: imports, connections, the cases of the project
COPIES: Final = 3  # of which the median counts
FIRST_COMPLETED_AT: Final = datetime(2026, 5, 1, tzinfo=UTC)  # of the first run; the others follow as they come
APART: Final = timedelta(seconds=20)
BUDGET: Final = {1: 0.25, 2: 0.4}


def event(number: int) -> bytes:
    """One run of 200 cases, of which two fail, as a runner would send it."""
    results = [
        {
            "case_id": f"tc_{case:04}",
            "suite": f"suite.{case // 20}",
            "name": f"does what it should, number {case}",
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
            "time": f"{FIRST_COMPLETED_AT + number * APART:%Y-%m-%dT%H:%M:%SZ}",
            "data": {"organization": "acme", "run": run, "results": results},
        }
    )  # fmt: skip


async def publish(url: str, numbers: range) -> None:
    """Publishes these events, confirmed in windows."""
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
    """Waits until so many runs are committed; one cheap count every 50 ms."""
    connection = await asyncpg.connect(url)
    while await connection.fetchval("SELECT count(*) FROM runs") < runs:  # noqa: ASYNC110 - it is the database that changes
        await asyncio.sleep(0.05)
    await connection.close()


def measure_ingest(given: BenchmarkServers, events: int, processes: int) -> float:
    """Results per second, from a full queue to the last commit."""
    with ExitStack() as running:
        asyncio.run(publish(given.amqp_url, range(WARM_UP)))
        started = [running.enter_context(consumer_process(given, "runs")) for _ in range(processes)]
        asyncio.run(until_stored(given.database_url, WARM_UP))
        time.sleep(0.5)
        publishing = time.perf_counter()
        for process in started:
            process.send_signal(19)  # SIGSTOP: the queue fills first, so that publishing is not measured
        asyncio.run(publish(given.amqp_url, range(WARM_UP, WARM_UP + events)))
        print(f"published {events} events in {time.perf_counter() - publishing:.1f} s")
        begun, cpu = time.perf_counter(), sum(map(cpu_s, started))
        for process in started:
            process.send_signal(18)  # SIGCONT
        asyncio.run(until_stored(given.database_url, WARM_UP + events))
        taken = time.perf_counter() - begun
        used = sum(map(cpu_s, started)) - cpu
        print(f"CPU of the consumers: {used / (events * CASES) * 1e6:.1f} us per result")
        print(f"peak RSS of a consumer: {max(map(peak_rss_mib, started)):.0f} MiB")
    return events * CASES / taken


def measure_copy(given: BenchmarkServers) -> float:
    """Rows per second of psql with the rows that ingest has just written, in the same order, into the same table."""
    file = given.folder / "results.copy"
    given.psql(f"\\copy (SELECT * FROM results ORDER BY run_key, case_key) TO '{file}'")
    rows = file.read_bytes().count(b"\n")
    return rows / median(copy_s(given, file) for _ in range(COPIES))


def copy_s(given: BenchmarkServers, file: Path) -> float:
    """How long psql takes for the file."""
    given.psql("TRUNCATE results")
    begun = time.perf_counter()
    given.psql(f"\\copy results FROM '{file}'")
    return time.perf_counter() - begun


async def make_organization(url: str) -> None:
    """The organization that the events carry."""
    connection = await asyncpg.connect(url)
    await organizations.create(connection, "acme", "Acme")
    await connection.close()


def main() -> None:
    """Measures and prints the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=3000)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    with servers() as given:
        asyncio.run(make_organization(given.database_url))
        ingest = measure_ingest(given, chosen.events, chosen.processes)
        copy = measure_copy(given)
    budget = BUDGET.get(chosen.processes, BUDGET[2])
    print(f"ingest, {chosen.processes} process(es): {ingest:,.0f} results/s")
    print(f"psql \\copy:               {copy:,.0f} rows/s")
    print(f"ratio: {ingest / copy:.2f} (budget {budget})")


if __name__ == "__main__":
    main()
