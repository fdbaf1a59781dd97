"""Benchmark of fingerprints: the CPU time of the ingest of failing results, relative to ingest without fingerprints.

    python -m benchmarks.fingerprints [--batches 20] [--variant repeated] …

Budget: 1.05. The failures are those of tests/data/reports. The failures of one variant repeat in each run, those of the
next one differ in values such as numbers, and those of the last one also in a word, so that no two have the same
fingerprint. In each run, nearly all failures differ. One run completes per second.

The reference has no fingerprints, and an index without them. Both databases are on one server. The CPU time is that of
the ingest code, without RabbitMQ, and of its PostgreSQL process. Each batch is ingested with and without fingerprints,
one directly after the other. The ratio is the median of those of the batches.
"""

import argparse
import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final
from unittest import mock
from urllib.parse import urlsplit

import orjson

from benchmarks.cpu import process_ns
from benchmarks.servers import BenchmarkServers, servers
from service.database import database, migrations
from service.failures.fingerprints import Fingerprinter
from service.ingest.batch_items import EventMessage
from service.ingest.contract import Failure
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.organizations import store as organizations_store
from service.reports.conversion.convert import convert
from service.reports.conversion.errors import ReportError
from service.reports.streams.chunks import read_chunks

BUDGET: Final = 1.05
CASES: Final = 200
EVENTS: Final = 20  # of a batch
WARM_UP: Final = 2  # batches
FIRST_COMPLETED_AT: Final = datetime(2026, 5, 1, tzinfo=UTC)
REPORTS: Final = Path("tests/data/reports")
DIGIT: Final = re.compile("[0-9]")
INDEX_WITHOUT_FINGERPRINT: Final = """
CREATE INDEX ON result_details (org_id, status, run_key, case_key) WHERE is_last_attempt AND status <> 'p'
"""
TEXTS: Final = ("message", "details")

Change = Callable[[str, int], str]


def repeat(text: str, _: int) -> str:
    """Return the text of a failure that repeats."""
    return text


def change_values(text: str, number: int) -> str:
    """Return the text with other digits and a further number."""
    random = Random(number)
    return f"after {number} ms: " + DIGIT.sub(lambda _: str(random.randint(0, 9)), text)


def change_words(text: str, number: int) -> str:
    """Return the text with other digits and a further word."""
    return f"{''.join(chr(ord('a') + int(digit)) for digit in str(number))}: {change_values(text, number)}"


VARIANTS: Final[dict[str, Change]] = {
    "repeated": repeat,
    "different values": change_values,
    "different words": change_words,
}


def failures_of_reports() -> list[Failure]:
    """Return the distinct failures of the reports that the tests use."""
    found: dict[bytes, Failure] = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "results"
        for report in sorted(path for path in REPORTS.rglob("*") if path.is_file()):
            try:
                convert(report, target)
            except ReportError:
                continue
            failures = [result.get("failure") for chunk in read_chunks(target) for result in orjson.loads(chunk)]
            found |= {orjson.dumps(failure): failure for failure in failures if failure}
    return list(found.values())


def batch(failures: list[Failure], change: Change, number: int) -> list[bytes]:
    """Return the events of a batch, in which each result fails."""
    return [event(failures, change, number * EVENTS + index) for index in range(EVENTS)]


def event(failures: list[Failure], change: Change, number: int) -> bytes:
    """Return an event with 200 failing results."""
    results = [
        {
            "case_id": f"tc_{case:04}", "suite": f"suite.{case // 20}", "name": f"behaves as specified, number {case}",
            "file": f"tests/test_{case // 20}.py", "status": "failed", "duration_ms": (case * 37 + number) % 5000,
            "failure": changed(failures[case % len(failures)], change, number * CASES + case),
        }
        for case in range(CASES)
    ]  # fmt: skip
    run = {"run_id": f"run_{number}", "project_id": "shop", "environment": "staging", "branch": "main"}
    return orjson.dumps(
        {
            "specversion": "1.0", "type": "run.completed", "source": "/benchmark", "id": str(number),
            "time": f"{FIRST_COMPLETED_AT + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}",
            "data": {"organization": "acme", "run": run, "results": results},
        }
    )  # fmt: skip


def changed(failure: Failure, change: Change, number: int) -> dict[str, Any]:
    """Return the failure with changed texts."""
    return {name: change(str(value), number) if name in TEXTS else value for name, value in failure.items() if value}


@dataclass
class IngestCost:
    """One database, and the CPU time of the ingest of each batch, in us per result."""

    ingest: RunIngest
    server_pid: int
    code_us: list[float] = field(default_factory=list)
    server_us: list[float] = field(default_factory=list)

    async def add(self, bodies: list[bytes]) -> None:
        """Ingest a batch and measure it."""
        server_ns, code_ns = process_ns(self.server_pid), time.process_time_ns()
        outcomes = await self.ingest.ingest(list(map(EventMessage, bodies)))
        self.code_us.append((time.process_time_ns() - code_ns) / (EVENTS * CASES) / 1000)
        self.server_us.append((process_ns(self.server_pid) - server_ns) / (EVENTS * CASES) / 1000)
        if any(outcome.status != "stored" for outcome in outcomes):
            raise SystemExit(f"not stored: {outcomes}")

    @property
    def total_us(self) -> list[float]:
        return [code + server for code, server in zip(self.code_us, self.server_us, strict=True)]


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[IngestCost]:
    """Open the ingest into a database with one organization. One connection, so that one process serves it."""
    pool = await database.open_pool(database_url, "results_worker", 1)
    try:
        async with pool.acquire() as connection:
            await organizations_store.create(connection, "acme", "Acme")
            server_pid = await connection.fetchval("SELECT pg_backend_pid()")
        yield IngestCost(RunIngest(BatchStore(pool, timedelta(days=3653))), server_pid)
    finally:
        await database.close_pool(pool)


def without_fingerprint(*_: object) -> None:
    """Return no fingerprint. Faster than a mock."""


async def measure(with_url: str, without_url: str, change: Change, batches: int) -> float:
    """Measure the ingest with and without fingerprints, print the parts, and return the ratio."""
    failures = failures_of_reports()
    async with opened(with_url) as fingerprinted, opened(without_url) as reference:
        for number in range(WARM_UP + batches):
            bodies = batch(failures, change, number)
            for is_reference in (False, True) if number % 2 else (True, False):
                if is_reference:
                    with mock.patch.object(Fingerprinter, "find", new=without_fingerprint):
                        await reference.add(bodies)
                else:
                    await fingerprinted.add(bodies)
    compare("code", fingerprinted.code_us, reference.code_us)
    compare("PostgreSQL", fingerprinted.server_us, reference.server_us)
    return compare("both", fingerprinted.total_us, reference.total_us)


def compare(part: str, with_us: list[float], without_us: list[float]) -> float:
    """Print the CPU time of a part per failing result, and return the ratio. Ignores the first batches."""
    pairs = list(zip(with_us[WARM_UP:], without_us[WARM_UP:], strict=True))
    added_us = median(with_ - without for with_, without in pairs)
    ratio = median(with_ / without for with_, without in pairs)
    print(f"  {part}: {median(without_us[WARM_UP:]):.1f} us + {added_us:.2f} us for fingerprints, ratio {ratio:.2f}")
    return ratio


def add_reference(running: BenchmarkServers) -> BenchmarkServers:
    """Add a database whose indexes don't contain fingerprints, and return its address."""
    running.psql("CREATE DATABASE reference")
    url = urlsplit(running.database_url)._replace(path="/reference").geturl()
    asyncio.run(migrations.apply(url))
    reference = replace(running, database_url=url)
    reference.psql("DROP INDEX result_details_by_status")
    reference.psql(INDEX_WITHOUT_FINGERPRINT)
    return reference


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--variant", choices=VARIANTS, action="append", help="can be repeated; default: all")
    arguments = parser.parse_args()
    for name in arguments.variant or VARIANTS:
        print(f"{name}:")
        with servers(with_broker=False) as running:
            reference = add_reference(running)
            ratio = asyncio.run(
                measure(running.database_url, reference.database_url, VARIANTS[name], arguments.batches)
            )
        print(f"  ratio: {ratio:.2f} (budget: at most {BUDGET})")


if __name__ == "__main__":
    main()
