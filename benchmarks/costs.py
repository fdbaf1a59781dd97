"""The time of the roll-up of a day, and of requests for costs, next to a bare query of the same sums.

    python -m benchmarks.costs [--runs 1000] [--rounds 200]

The day has one project with `runs` runs of 10,000 results: 10 million by default. One percent of the results fail, and
one percent pass on a retry. The requests are for two other projects, which also have runs of today: 10,000 cases for 30
and 3 days, and 1,000 cases for 400 days, of which the older months are merged, and for 30 days.
Each case has one of 20 owners.

Budgets: a roll-up ends within the 900 s of its statements; p99 of 50 ms for the statements of a request.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg

from benchmarks.servers import servers
from benchmarks.splits import quantiles
from service.cases.contract import CasesQuery
from service.cases.operations import rank_cases
from service.costs.contract import CostsQuery
from service.costs.model import MERGED_AFTER_DAYS
from service.costs.operations import find_costs
from service.costs.roll_up import roll_up_costs
from service.database.database import Pool, as_organization, close_pool, open_pool
from service.domain.ids import OrgId
from service.identity.keys.model import Caller
from service.stats.contract import StatsQuery
from service.stats.operations import find_stats

_SQL: Final = Path(__file__).parent / "costs.sql"
_RANGES: Final = (("wide", 30), ("wide", 3), ("long", 400), ("long", 30))  # days; with 10,000 and 1,000 cases
_BARE: Final = (
    "SELECT case_key, sum(duration_ms) AS total FROM case_costs WHERE org_id = 1 AND project_id = $1 AND start >= $2"
    " GROUP BY case_key ORDER BY total DESC LIMIT 20"
)


def days_sql() -> str:
    """Return the query for the periods that the two projects with requests have already rolled up."""
    today = datetime.now(UTC).date()
    merged = (today - timedelta(days=MERGED_AFTER_DAYS)).replace(day=1)
    return f"""
        SELECT 'wide' AS project_id, day::date AS start, false AS is_month
        FROM generate_series('{merged}'::date, '{today}'::date - 1, interval '1 day') AS day
        UNION ALL
        SELECT 'long', day::date, false
        FROM generate_series('{merged}'::date, '{today}'::date - 1, interval '1 day') AS day
        UNION ALL
        SELECT 'long', month::date, true
        FROM generate_series('{merged}'::date - interval '13 months', '{merged}'::date - 1, interval '1 month') AS month
    """


async def fill(url: str, runs: int) -> None:
    """Insert the rows, one statement after the other."""
    connection = await asyncpg.connect(url, command_timeout=3600)
    for statement in _SQL.read_text().replace("{runs}", str(runs)).replace("{days}", days_sql()).split(";\n"):
        if statement.strip():
            await connection.execute(statement)
    await connection.execute("VACUUM (ANALYZE)")
    await connection.close()


async def measure(request: Callable[[], Awaitable[Any]], rounds: int) -> list[float]:
    """Return the times of the requests in seconds, after a few that fill the caches."""
    times: list[float] = []
    for number in range(rounds + 5):
        started = time.perf_counter()
        await request()
        if number >= 5:
            times.append(time.perf_counter() - started)
    return times


def requests_of(pool: Pool, caller: Caller, project_id: str, days: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return the requests for the costs of a project, by name."""
    first = (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()
    range_ = {"project_id": project_id, "from": first}
    found: dict[str, Callable[[], Awaitable[Any]]] = {}
    for group in ("case", "suite", "owner", "job", "project"):
        query = CostsQuery.model_validate({**range_, "group_by": group})
        found[f"costs by {group}"] = partial(find_costs, pool, caller, query)
    cases = CasesQuery.model_validate({**range_, "sort": "total_duration"})
    found["cases by total duration"] = lambda: rank_cases(pool, caller, cases, "total_duration")
    stats = StatsQuery.model_validate({**range_, "group_by": "owner"})
    found["statistics by owner"] = lambda: find_stats(pool, caller, stats)
    return found


async def measure_bare(pool: Pool, project_id: str, days: int, rounds: int) -> list[float]:
    """Return the times of the bare query in seconds."""
    first = datetime.now(UTC).date() - timedelta(days=days - 1)

    async def request() -> None:
        async with as_organization(pool, OrgId(1)) as connection:
            await connection.fetch(_BARE, project_id, first)

    return await measure(request, rounds)


async def run(url: str, runs: int, rounds: int) -> None:
    """Fill the database, roll up the day, and measure the requests."""
    await fill(url, runs)
    pool = await open_pool(url, "results_worker", 2)
    started = time.perf_counter()
    await roll_up_costs(pool, timedelta(days=400))
    seconds = time.perf_counter() - started
    counts = {
        table: await pool.fetchval(f"SELECT count(*) FROM {table} WHERE project_id = 'large'")
        for table in ("case_costs", "job_costs")
    }
    print(f"roll-up of {runs * 10_000:,} results: {seconds:.1f} s, {counts}")
    await close_pool(pool)
    pool = await open_pool(url, "results_api", 1)
    caller = Caller(OrgId(1), "key_1", "viewer", None)
    for project_id, days in _RANGES:
        bare = await measure_bare(pool, project_id, days, rounds)
        print(f"{project_id}, {days} days: bare query {quantiles(bare)}")
        for name, request in requests_of(pool, caller, project_id, days).items():
            times = await measure(request, rounds)
            print(f"  {name}: {quantiles(times)}, {ratio(times, bare):.1f} times the bare query")
    await close_pool(pool)


def ratio(times: Sequence[float], bare: Sequence[float]) -> float:
    """Return the ratio of the medians."""
    return sorted(times)[len(times) // 2] / sorted(bare)[len(bare) // 2]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    with servers(with_broker=False) as started:
        asyncio.run(run(started.database_url, arguments.runs, arguments.rounds))


if __name__ == "__main__":
    main()
