"""The time of lists and of get-by-ID: calls of the read functions, and EXPLAIN of the statements that they execute."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from benchmarks.cpu import process_ns
from benchmarks.statements import ExecutedStatement, explain, record
from service.cases import store as cases_store
from service.database import database
from service.database.database import Connection
from service.domain.filters import Position, ResultFilter, RunFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.failures import store as failures_store
from service.results import queries as results_queries
from service.runs import store as runs_store

PAGE: Final = 100
_SAMPLES: Final = 60
_EXPLAINED: Final = 15
_PLANNED: Final = 5
# Runs of the main branch with a typical size, spread over all months by the hash. The case is part of every run.
_SAMPLE: Final = """
SELECT run.org_id, run.run_id, run.run_key, run.project_id, run.branch, test_case.case_key
FROM (
    SELECT * FROM runs
    WHERE run_id LIKE 'run_%' AND branch = 'main' AND passed + failed BETWEEN 100 AND 300
          AND ($2::int IS NULL OR org_id <= $2)
    ORDER BY md5(run_id) LIMIT $1
) run
JOIN cases test_case ON test_case.org_id = run.org_id AND test_case.project_id = run.project_id
                        AND test_case.case_id = 'tc_' || 1 + run.passed % 40
"""


class Sample(NamedTuple):
    """A result that exists, with its run."""

    org_id: OrgId
    run_id: str
    run_key: RunKey
    project_id: str
    branch: str
    case_key: CaseKey

    @property
    def key(self) -> tuple[RunKey, CaseKey]:
        return self.run_key, self.case_key


async def _results(connection: Connection, sample: Sample, filter_: ResultFilter, after: Position | None = None) -> Any:
    return await results_queries.list_page(connection, sample.org_id, filter_, after, PAGE)


Read = Callable[[Connection, Sample], Awaitable[Any]]
READS: Final[dict[str, Read]] = {
    "results, first page": lambda c, s: _results(c, s, ResultFilter()),
    "results, distant page": lambda c, s: _results(c, s, ResultFilter(), Position(*s.key)),
    "failed results of a project": lambda c, s: _results(
        c, s, ResultFilter(statuses=("f",), project_id=s.project_id), Position(*s.key)
    ),
    "results of a branch": lambda c, s: _results(c, s, ResultFilter(branch=s.branch), Position(*s.key)),
    "results of a run": lambda c, s: _results(c, s, ResultFilter(run_id=s.run_id)),
    "history of a case": lambda c, s: _results(c, s, ResultFilter(case_key=s.case_key, project_id=s.project_id)),
    "runs, distant page": lambda c, s: runs_store.list_page(c, s.org_id, RunFilter(), s.run_key, PAGE),
    "runs of a branch": lambda c, s: runs_store.list_page(
        c, s.org_id, RunFilter(project_id=s.project_id, branch=s.branch), None, PAGE
    ),
    "cases of a project": lambda c, s: cases_store.list_page(
        c, s.org_id, ResultFilter(project_id=s.project_id), 20, None, 20
    ),
    "failure groups": lambda c, s: failures_store.list_groups(c, s.org_id, ResultFilter(run_id=s.run_id), 20),
    "one result": lambda c, s: results_queries.find_one(c, s.org_id, s.key, None),
    "one run": lambda c, s: runs_store.find_one(c, s.org_id, s.run_id, None),
}


class ReadTimes(NamedTuple):
    """The times of the calls of one read function in ms, and the CPU time per call in PostgreSQL in ms."""

    calls_ms: list[float]
    cpu_ms: float


class ExplainedRead(NamedTuple):
    """The median number of buffers of a call, and the CPU time to plan its statements in ms."""

    buffers: float
    planning_ms: float


async def sample_results(url: str, largest: int | None) -> list[Sample]:
    """Return the results that all rounds read, only of the largest organizations if their number is given."""
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(_SAMPLE, _SAMPLES, largest)
    await connection.close()
    return [Sample(**{**row, "run_key": RunKey(UUID(str(row["run_key"])))}) for row in rows]


async def time_reads(url: str, samples: Sequence[Sample]) -> dict[str, ReadTimes]:
    """Call each read function once for each sample, in a new connection after a warm-up."""
    pool = await database.open_pool(url, "results_api", 1)
    times = {}
    for name, read in READS.items():
        for sample in samples:
            await _call(pool, read, sample)
        process_id = await _process_id(pool, samples[0])
        before_ns = process_ns(process_id)
        calls_ms = [await _call(pool, read, sample) for sample in samples]
        times[name] = ReadTimes(calls_ms, (process_ns(process_id) - before_ns) / len(samples) / 1e6)
    await database.close_pool(pool)
    return times


async def _call(pool: database.Pool, read: Read, sample: Sample) -> float:
    async with database.as_organization(pool, sample.org_id) as connection:
        started = time.perf_counter()
        await read(connection, sample)
        return (time.perf_counter() - started) * 1000


async def _process_id(pool: database.Pool, sample: Sample) -> int:
    async with database.as_organization(pool, sample.org_id) as connection:
        process_id: int = await connection.fetchval("SELECT pg_backend_pid()")
        return process_id


async def explain_reads(url: str, samples: Sequence[Sample]) -> dict[str, ExplainedRead]:
    """Explain the statements that each read function executes."""
    pool = await database.open_pool(url, "results_api", 1)
    explained = {name: await _explain(pool, read, samples[:_EXPLAINED]) for name, read in READS.items()}
    await database.close_pool(pool)
    return explained


async def _explain(pool: database.Pool, read: Read, samples: Sequence[Sample]) -> ExplainedRead:
    explained = [await _explain_call(pool, read, sample) for sample in samples]
    return ExplainedRead(statistics.median(one.buffers for one in explained), min(one.planning_ms for one in explained))


async def _explain_call(pool: database.Pool, read: Read, sample: Sample) -> ExplainedRead:
    async with database.as_organization(pool, sample.org_id) as connection:
        executed = await record(connection, lambda c: read(c, sample))
        plans = [await explain(connection, one, "ANALYZE, BUFFERS, TIMING OFF") for one in executed]
        planning_ms = [await _planning_ms(connection, executed) for _ in range(_PLANNED)]
    return ExplainedRead(sum(_buffers(plan["Plan"]) for (plan,) in plans), min(planning_ms))


def _buffers(plan: Mapping[str, int]) -> int:
    """Return the number of buffers that the execution read from shared memory or from the operating system."""
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def _planning_ms(connection: Connection, executed: Sequence[ExecutedStatement]) -> float:
    """Return the CPU time to plan the statements, in a connection that knows the tables."""
    process_id = await connection.fetchval("SELECT pg_backend_pid()")
    before_ns = process_ns(process_id)
    for one in executed:
        await explain(connection, one, "SUMMARY")
    return (process_ns(process_id) - before_ns) / 1e6
