"""Benchmark of tracing while it's off: the CPU time of ingest and of requests, relative to the same without its calls.

    python -m benchmarks.tracing_comparison [--rounds 40]

Budget: 1.02. Both sides use the same process, database, and handlers, and alternate; the ratio is the median of all
rounds. A third side repeats the first one: its ratio shows the accuracy of the measurement. The CPU time is that of
this process, without PostgreSQL; for requests, it includes the client.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from itertools import count
from operator import truediv
from statistics import median
from typing import Final
from unittest import mock

from aiohttp.test_utils import TestClient, TestServer

from benchmarks.ingest import create_organization, event
from benchmarks.servers import servers
from consumers.messages import Delivery
from consumers.runs import runs_handler
from service.api import middleware
from service.app import make_app
from service.database import database
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from service.ingest import batch_items
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.results import store as results_store
from service.settings import Settings
from service.tracing import spans

BUDGET: Final = 1.02
BATCH: Final = 20  # events
REQUESTS: Final = 25  # of a round
ROUNDS_OF_REQUESTS: Final = 8  # for each round of ingest, because they are shorter
WARM_UP: Final = 3  # rounds
NOTHING: Final = nullcontext(())

Work = Callable[[], Awaitable[None]]


@contextmanager
def without_calls() -> Iterator[None]:
    """Replace the calls for tracing of ingest and of requests by functions that do nothing."""
    in_spans = mock.patch.multiple(
        spans, is_on=_no, processing=_no_block, set_outcomes=_no, current_context=_no, set_response=_no
    )
    with (
        in_spans,
        mock.patch.object(batch_items, "resuming", _no_block),
        mock.patch.object(results_store, "copy_span", _no_block),
        mock.patch.object(middleware, "_span", _no_block),
    ):
        yield


def _no(*_: object) -> None:
    return None


def _no_block(*_: object) -> AbstractContextManager[object]:
    return NOTHING


async def compare(work: Work, rounds: int) -> tuple[float, float]:
    """Return the ratio of the CPU times with and without the calls, and that of two sides with the calls."""
    sides: dict[str, list[float]] = {"calls": [], "without": [], "again": []}
    for number in range(WARM_UP + rounds):
        names = list(sides)
        for name in names[number % 3 :] + names[: number % 3]:
            with without_calls() if name == "without" else nullcontext():
                started = time.process_time()
                await work()
                sides[name].append(time.process_time() - started)
    calls, without, again = (seconds[WARM_UP:] for seconds in sides.values())
    return median(map(truediv, calls, without)), median(map(truediv, calls, again))


async def compare_ingest(database_url: str, rounds: int) -> tuple[float, float]:
    """Compare the handler of the queue of events, with batches of new runs."""
    events = map(event, count())
    pool = await database.open_pool(database_url, "results_worker", 2)
    handle = runs_handler(RunIngest(BatchStore(pool, timedelta(days=3653))))

    async def store_batch() -> None:
        outcomes = await handle(batches.pop())
        if any(outcomes):
            raise SystemExit(f"not stored: {outcomes}")

    batches = [[Delivery(next(events), None, {}) for _ in range(BATCH)] for _ in range(3 * (WARM_UP + rounds))]
    try:
        return await compare(store_batch, rounds)
    finally:
        await database.close_pool(pool)


async def compare_requests(database_url: str, rounds: int) -> tuple[float, float]:
    """Compare requests for one result."""
    pool = await database.open_pool(database_url, "results_worker", 1)
    async with pool.acquire() as connection:
        key = (await create_key(connection, OrgId(1), "benchmark", "viewer")).key
        result = await connection.fetchval("SELECT result_id(run_key, case_key) FROM results LIMIT 1")
    await database.close_pool(pool)
    settings = Settings(database_url=database_url, rate_limit="off")
    async with TestClient(TestServer(make_app(settings))) as client:

        async def read_results() -> None:
            for _ in range(REQUESTS):
                async with client.get(f"/v1/results/{result}", headers={"Authorization": f"Bearer {key}"}) as response:
                    await response.read()
                    if response.status != 200:
                        raise SystemExit(f"status {response.status}")

        return await compare(read_results, rounds * ROUNDS_OF_REQUESTS)


async def measure(database_url: str, rounds: int) -> None:
    """Measure and print the ratios."""
    await create_organization(database_url)
    ratios = {
        "ingest": await compare_ingest(database_url, rounds),
        "requests": await compare_requests(database_url, rounds),
    }
    for name, (ratio, accuracy) in ratios.items():
        print(f"{name}: ratio {ratio:.3f} (budget: at most {BUDGET}); two sides with the calls: {accuracy:.3f}")
    if any(ratio > BUDGET for ratio, _ in ratios.values()):
        raise SystemExit(1)


def main() -> None:
    """Measure and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    with servers(with_broker=False) as running:
        asyncio.run(measure(running.database_url, parser.parse_args().rounds))


if __name__ == "__main__":
    main()
