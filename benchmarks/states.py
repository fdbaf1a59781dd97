"""The CPU time that states of cases add to the ingest of the default branch, in percent of the time of the ingest.

    python -m benchmarks.states [--runs 60] [--load 1] [--load 15]

Each run has 10,000 results and is ingested alone. Then its events are numbered, which isn't part of either time, and
states are updated. The measured runs are a part of a day of 300 runs: 60 of them, after 560 older ones that fill the
window. The first update reads this window, as a rebuild does, and isn't part of the ratio.

Histories, seeded, with one percent of bad results:

- 300 of the cases are flaky, with log-uniform rates of 2 to 50 %: about 45 bad results per run. A third of these cases
  always passes on a retry, a third never, and a third in half of its bad results.
- Breaks begin in neighboring cases, log-uniformly 1 to 10 of them, and last log-uniformly 1 to 60 runs: about 50 bad
  results per run.
- 5 other cases per run pass on a retry.

With 15 percent, suites of 100 cases break, for log-uniformly 1 to 20 runs: about 1,450 bad results per run, in addition
to the same flaky cases and retries.

Budgets: 10 % more CPU time with one percent of bad results, 30 % with 15 %, and 5 s from the commit of a run to its
states. Upkeep looks for new events once per second, so one second is added to the time of an update.
"""

import argparse
import gc
import os
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from statistics import median
from typing import Any, Final, NamedTuple

import asyncpg
import orjson
import uvloop

from benchmarks.cpu import backends_ns, process_ns
from benchmarks.ingest import FIRST_COMPLETED_AT, create_organization
from benchmarks.servers import servers
from service.database import database
from service.events.operations import number_events
from service.ingest.batch_items import EventMessage
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.states.update_states import StateUpdater

CASES: Final = 10_000
OLDER_RUNS: Final = 560
RUN_INTERVAL: Final = timedelta(seconds=288)  # 300 runs per day
FLAKY_CASES: Final = 300
RETRIED: Final = 5  # other cases per run
BUDGETS: Final = {1: 0.10, 15: 0.30}
VISIBLE_S: Final = 5
_POLL_S: Final = 1.0
_RETENTION: Final = timedelta(days=3653)
_FAILURE: Final = {"type": "AssertionError", "message": "expected 200 got 503"}
_FAILED: Final = {"status": "failed", "failure": _FAILURE}
_ATTEMPTS: Final = [_FAILED, {"status": "passed"}]


class Breaks(NamedTuple):
    """The breaks of a load: how many begin in each run, the most cases that one has, and the most runs it lasts."""

    per_run: float
    cases: tuple[int, int]
    runs: int


BREAKS: Final = {1: Breaks(0.9, (1, 10), 60), 15: Breaks(2.3, (100, 100), 20)}


class History:
    """The seeded runs of a load."""

    def __init__(self, breaks: Breaks, seed: int = 41) -> None:
        self._random = random.Random(seed)
        self._breaks = breaks
        self._rates = {case: self._log_uniform(0.02, 0.5) for case in self._random.sample(range(CASES), FLAKY_CASES)}
        self._broken_until: dict[int, int] = {}
        self._passed = [_passed(case) for case in range(CASES)]
        self.bad = 0

    def events(self, numbers: range) -> Iterator[EventMessage]:
        """Yield the event of each run."""
        return (EventMessage(self._event(number)) for number in numbers)

    def _event(self, number: int) -> bytes:
        changed = self._retried() | self._flaky() | self._failed(number)
        self.bad += len(changed)
        results = self._passed.copy()
        for case, fields in changed.items():
            results[case] = results[case] | fields
        completed_at = f"{FIRST_COMPLETED_AT + number * RUN_INTERVAL:%Y-%m-%dT%H:%M:%SZ}"
        run = {"run_id": f"run_{number}", "project_id": "shop", "environment": "staging", "branch": "main"}
        run |= {"commit_sha": f"{number:040x}", "completed_at": completed_at}
        data = {"organization": "acme", "run": run, "results": results}
        event = {"specversion": "1.0", "type": "run.completed", "source": "/benchmark", "id": str(number)}
        return orjson.dumps(event | {"time": completed_at, "data": data})

    def _retried(self) -> dict[int, Any]:
        return {self._random.randrange(CASES): {"status": None, "attempts": _ATTEMPTS} for _ in range(RETRIED)}

    def _flaky(self) -> dict[int, Any]:
        bad = {}
        for position, (case, rate) in enumerate(self._rates.items()):
            if self._random.random() < rate:
                is_retried = self._random.random() < position % 3 / 2
                bad[case] = {"status": None, "attempts": _ATTEMPTS} if is_retried else _FAILED
        return bad

    def _failed(self, number: int) -> dict[int, Any]:
        begun = int(self._breaks.per_run + self._random.random())
        for _ in range(begun):
            cases = round(self._log_uniform(*self._breaks.cases))
            first = self._random.randrange(CASES // cases) * cases
            end = number + round(self._log_uniform(1, self._breaks.runs))
            self._broken_until |= dict.fromkeys(range(first, first + cases), end)
        self._broken_until = {case: end for case, end in self._broken_until.items() if end > number}
        return dict.fromkeys(self._broken_until, _FAILED)

    def _log_uniform(self, least: float, most: float) -> float:
        return least * float((most / least) ** self._random.random())


def _passed(case: int) -> dict[str, Any]:
    return {
        "case_id": f"tc_{case:05}",
        "suite": f"suite.{case // 100}",
        "name": f"behaves as specified, number {case}",
        "file": f"tests/test_{case // 100}.py",
        "status": "passed",
        "duration_ms": case * 37 % 5000,
    }


class Used(NamedTuple):
    """CPU times in ns, and elapsed seconds."""

    python: int
    postgres: int
    elapsed_s: float

    @property
    def cpu(self) -> int:
        return self.python + self.postgres

    def since(self, earlier: "Used") -> "Used":
        """Return the difference."""
        elapsed_s = self.elapsed_s - earlier.elapsed_s
        return Used(self.python - earlier.python, self.postgres - earlier.postgres, elapsed_s)


async def measure(url: str, load: int, count: int) -> None:
    """Ingest the older runs, measure the others, and print the ratio."""
    pool = await database.open_pool(url, "results_worker", 1)
    ingest, updater = RunIngest(BatchStore(pool, _RETENTION)), StateUpdater(pool)
    observer, history = await asyncpg.connect(url), History(BREAKS[load])

    async def used() -> Used:
        elapsed_s = time.perf_counter()
        return Used(process_ns(os.getpid()), await backends_ns(observer, "results_worker"), elapsed_s)

    for event in history.events(range(OLDER_RUNS)):
        await ingest.ingest([event])
    await number_events(pool)
    gc.freeze()  # as processes do after their start: the collector ignores the histories of this program
    before = await used()
    await updater.update()
    rebuild = (await used()).since(before)
    for table in ("results", "result_details", "runs", "case_histories"):
        await observer.execute(f"ANALYZE {table}")
    history.bad = 0
    ingests, updates = list[Used](), list[Used]()
    for event in history.events(range(OLDER_RUNS, OLDER_RUNS + count)):
        before = await used()
        await ingest.ingest([event])
        ingests.append((await used()).since(before))
        await number_events(pool)
        before = await used()
        await updater.update()
        updates.append((await used()).since(before))
    size = await observer.fetchval("SELECT sum(length(document)) FROM case_histories")
    await observer.close()
    await database.close_pool(pool)
    print(f"{load} % bad results (measured: {history.bad / count / CASES:.1%}), a document of {size / 1024:.0f} KiB")
    print(f"  first update: {rebuild.elapsed_s:.1f} s; Python {rebuild.python / 1e9:.1f} s of CPU")
    for name, times in (("ingest", ingests), ("states", updates)):
        python, postgres = (sum(each) / count / 1e6 for each in list(zip(*times, strict=True))[:2])
        print(f"  CPU of {name} per run: Python {python:.1f} ms, PostgreSQL {postgres:.1f} ms")
    ratio = sum(each.cpu for each in updates) / sum(each.cpu for each in ingests)
    print(f"  added by states: {ratio:.1%} (budget {BUDGETS[load]:.0%})")
    update_s = [each.elapsed_s for each in updates]
    print(
        f"  commit to states, at most: {_POLL_S + median(update_s):.2f} s, slowest run {_POLL_S + max(update_s):.2f} s"
    )


def main() -> None:
    """Measure each load in a new database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60, help="measured runs")
    parser.add_argument("--load", type=int, choices=BUDGETS, action="append", help="percent of bad results")
    arguments = parser.parse_args()
    for load in arguments.load or BUDGETS:
        with servers(with_broker=False) as running:
            uvloop.run(create_organization(running.database_url))
            uvloop.run(measure(running.database_url, load, arguments.runs))


if __name__ == "__main__":
    main()
