"""The time to ingest one event, in a child process for each database, so that rounds can alternate."""

import asyncio
import multiprocessing
import os
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import orjson

from benchmarks.cpu import process_ns
from service.database import database
from service.ingest.batch_items import EventMessage
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore

CASES: Final = 200
EVENTS: Final = 30
_RETENTION: Final = timedelta(days=3650)
_spawn = multiprocessing.get_context("spawn")


class EventTimes(NamedTuple):
    """The times of events in ms, the CPU time per event in ms of the process and of PostgreSQL, and the peak memory."""

    events_ms: list[float]
    cpu_ms: float
    peak_mib: float


@contextmanager
def ingesting(urls: Sequence[str]) -> Iterator[dict[str, ProcessPoolExecutor]]:
    """Run a child process for each database while the block runs."""
    with ExitStack() as started:
        yield {url: started.enter_context(ProcessPoolExecutor(1, mp_context=_spawn)) for url in urls}


def time_events(url: str, slugs: Sequence[str], cases: int = CASES, events: int = EVENTS) -> EventTimes:
    """Ingest events one after the other, each for the next organization. Runs in a child process."""
    return asyncio.run(_time_events(url, slugs, cases, events))


async def _time_events(url: str, slugs: Sequence[str], cases: int, events: int) -> EventTimes:
    pool = await database.open_pool(url, "results_worker", 1)
    ingest = RunIngest(BatchStore(pool, _RETENTION))
    for slug in dict.fromkeys(slugs[:events]):
        await _ingest(ingest, _event(slug, cases))
    async with pool.acquire() as connection:
        backend_id = await connection.fetchval("SELECT pg_backend_pid()")
    bodies = [_event(slugs[number % len(slugs)], cases) for number in range(events)]
    before_ns, times_ms = process_ns(os.getpid()) + process_ns(backend_id), []
    for body in bodies:
        started = time.perf_counter()
        await _ingest(ingest, body)
        times_ms.append((time.perf_counter() - started) * 1000)
    used_ns = process_ns(os.getpid()) + process_ns(backend_id) - before_ns
    await database.close_pool(pool)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return EventTimes(times_ms, used_ns / events / 1e6, peak_kib / 1024)


async def _ingest(ingest: RunIngest, body: bytes) -> None:
    (outcome,) = await ingest.ingest([EventMessage(body)])
    if outcome.status != "stored":
        raise RuntimeError(f"the event has the outcome {outcome}")


def _event(slug: str, cases: int) -> bytes:
    """Return an event with a new run of the project `ingested`, in which every 33rd case failed."""
    event_id = f"{time.time_ns()}-{os.urandom(4).hex()}"
    results = [
        {"case_id": f"tc_{case}", "suite": f"suite.{case // 50}", "name": f"behaves as specified, number {case}",
         "status": "passed", "duration_ms": case % 5000}
        for case in range(1, cases + 1)
    ]  # fmt: skip
    for failed in results[32::33]:
        failed |= {"status": "failed", "failure": {"type": "AssertionError", "message": "expected 200 got 503"}}
    run = {"run_id": f"ingested_{event_id}", "project_id": "ingested", "environment": "env1", "branch": "ingested"}
    return orjson.dumps(
        {
            "specversion": "1.0", "type": "run.completed", "source": "/growth", "id": event_id,
            "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "data": {"organization": slug, "run": run, "results": results},
        }
    )  # fmt: skip
