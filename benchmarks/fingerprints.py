"""Benchmark of fingerprints: the CPU time of the ingest of failing results, relative to ingest without fingerprints.

    python -m benchmarks.fingerprints [--batches 20]

Budget: 1.05. The failures are those of tests/data/reports. The failures of one variant repeat in each run, those of the
next one differ in values such as numbers, and those of the last one also in a word, so that no two have the same
fingerprint. The reference has neither fingerprints nor their index. The CPU time is that of the ingest code and of its
PostgreSQL process; batches with and without fingerprints alternate.
"""

import argparse
import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final
from unittest import mock

import orjson

from benchmarks.servers import servers
from service.contracts.run_events import Failure
from service.reports.chunks import read_chunks
from service.reports.convert import convert
from service.reports.errors import ReportError
from service.store import organizations
from service.store.postgres import database
from service.usecases.ingest import parse_results
from service.usecases.ingest.ingest_runs import RunIngest

BUDGET: Final = 1.05
CASES: Final = 200
EVENTS: Final = 20  # of a batch
WARM_UP: Final = 2  # batches
FIRST_COMPLETED_AT: Final = datetime(2026, 5, 1, tzinfo=UTC)
REPORTS: Final = Path("tests/data/reports")
DIGIT: Final = re.compile("[0-9]")
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
        server_s, code_s = process_cpu_s(self.server_pid), time.process_time()
        outcomes = await self.ingest.ingest(bodies)
        self.code_us.append((time.process_time() - code_s) / (EVENTS * CASES) * 1e6)
        self.server_us.append((process_cpu_s(self.server_pid) - server_s) / (EVENTS * CASES) * 1e6)
        if any(outcome.status != "stored" for outcome in outcomes):
            raise SystemExit(f"not stored: {outcomes}")

    def medians(self) -> tuple[float, float]:
        """Return the CPU time of the code and of the server, without the first batches."""
        return median(self.code_us[WARM_UP:]), median(self.server_us[WARM_UP:])


def process_cpu_s(pid: int) -> float:
    """Return the CPU time of a process of one thread, in seconds, more precisely than /proc/PID/stat does."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[IngestCost]:
    """Open the ingest into a database with one organization. One connection, so that one process serves it."""
    pool = await database.open_pool(database_url, "results_worker", 1)
    try:
        async with pool.acquire() as connection:
            await organizations.create(connection, "acme", "Acme")
            server_pid = await connection.fetchval("SELECT pg_backend_pid()")
        yield IngestCost(RunIngest(pool, timedelta(days=3653)), server_pid)
    finally:
        await database.close_pool(pool)


async def measure(with_url: str, without_url: str, change: Change, batches: int) -> tuple[float, float]:
    """Return the ratios of the CPU time of the code, and of the code and the server."""
    failures = failures_of_reports()
    async with opened(with_url) as fingerprinted, opened(without_url) as reference:
        for number in range(WARM_UP + batches):
            bodies = batch(failures, change, number)
            for is_reference in (False, True) if number % 2 else (True, False):
                if is_reference:
                    with mock.patch.object(parse_results, "_with_fingerprint", lambda attempt, *_: attempt):
                        await reference.add(bodies)
                else:
                    await fingerprinted.add(bodies)
        costs = fingerprinted.medians(), reference.medians()
    (code_us, server_us), (reference_code_us, reference_server_us) = costs
    print(f"  with fingerprints: code {code_us:.1f} us, PostgreSQL {server_us:.1f} us per failing result")
    print(f"  without: code {reference_code_us:.1f} us, PostgreSQL {reference_server_us:.1f} us")
    return code_us / reference_code_us, (code_us + server_us) / (reference_code_us + reference_server_us)


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=20)
    batches = parser.parse_args().batches
    for name, change in VARIANTS.items():
        print(f"{name}:")
        with servers(with_broker=False) as running, servers(with_broker=False) as reference:
            reference.psql("DROP INDEX result_details_by_fingerprint")
            code, total = asyncio.run(measure(running.database_url, reference.database_url, change, batches))
        print(f"  ratio: {total:.2f} (budget: at most {BUDGET}), of the code alone {code:.2f}")


if __name__ == "__main__":
    main()
