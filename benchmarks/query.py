"""Query performance: the time in PostgreSQL, and distant pages. `benchmarks.query_requests` measures requests.

    python -m benchmarks.query [--runs 50000] [--small-runs 1000000] [--database postgresql://…] [PART …]

It measures all parts, or only the given ones. A database that it filled before is used again.

The data are 10 M results in 20 organizations and 1 M runs in one. Limits: page 10,000 takes at most 1.2 times as long
as the first page. The p99 of every filter and combination is at most 5 ms in PostgreSQL, without a sequential scan. The
p99 of case statistics is at most 10 ms, that of a ranking of cases is at most 20 ms, and that of statistics about
20,000 runs, or of a comparison of 10,000 with 10,000 results, is at most 50 ms.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Final, get_args
from uuid import UUID

import asyncpg
import orjson

from benchmarks.query_comparison import comparison_statements
from benchmarks.query_data import fill
from benchmarks.servers import servers
from service.domain.filters import ResultFilter, RunFilter
from service.domain.ids import CaseKey, Fingerprint, OrgId, RunKey
from service.domain.rankings import Ranking
from service.domain.stats import Grouping
from service.store.postgres import database, migrations
from service.store.postgres.composition import Statement, compose
from service.store.queries import cases as read_cases
from service.store.queries import failures as read_failures
from service.store.queries import results as read_results
from service.store.queries import runs as read_runs
from service.store.queries import stats as read_stats
from service.store.queries.filter_values import filter_values
from service.store.queries.results import Budgets
from tests.store.large import plan_nodes

ORG, MANY_RUNS, COMPARED = OrgId(1), OrgId(21), OrgId(22)
COMPARISON_BUDGET_MS: Final = 50
RANKING_BUDGET_MS: Final = 20
GROUP: Final = Fingerprint(10)
CASE: Final = CaseKey(20 * 900719925474099 - 4503599627370495000)
COMMIT: Final = hashlib.md5(b"10002", usedforsecurity=False).hexdigest() + "00000000"  # as in query.sql
EXECUTIONS: Final = 100
FROM_MS, TO_MS = 1_760_000_000_000, 1_765_000_000_000

FILTERS: Final = {
    "nothing": ResultFilter(),
    "passed": ResultFilter(statuses=("p",)),
    "failed": ResultFilter(statuses=("f",)),
    "error, failed": ResultFilter(statuses=("e", "f")),
    "skipped (no match)": ResultFilter(statuses=("s",)),
    "dates": ResultFilter(from_ms=FROM_MS, to_ms=TO_MS),
    "failed in dates": ResultFilter(statuses=("f",), from_ms=FROM_MS, to_ms=TO_MS),
    "run": ResultFilter(run_id="run_20000"),
    "run, failed": ResultFilter(run_id="run_20000", statuses=("f",)),
    "flaky": ResultFilter(flaky=True),
    "not flaky": ResultFilter(flaky=False),
    "run, flaky": ResultFilter(run_id="run_20004", flaky=True),
    "project, flaky": ResultFilter(project_id="p4", flaky=True),
    "branch, flaky": ResultFilter(branch="main", flaky=True),
    "commit": ResultFilter(commit_sha=COMMIT),
    "commit, failed": ResultFilter(commit_sha=COMMIT, statuses=("f",)),
    "failure group": ResultFilter(fingerprint=GROUP),
    "failure group, branch (no match)": ResultFilter(fingerprint=GROUP, branch="none"),
    "run, failure group": ResultFilter(run_id="run_20000", fingerprint=GROUP),
    "label": ResultFilter(labels=('{"team":"t1"}',)),
    "label (no match)": ResultFilter(labels=('{"team":"none"}',)),
    "duration": ResultFilter(min_duration_ms=100),
    "duration (no match)": ResultFilter(min_duration_ms=1_000_000),
    "project, failed, duration": ResultFilter(project_id="p0", statuses=("f",), min_duration_ms=100),
    "run, variant (no match)": ResultFilter(run_id="run_20000", variants=('{"os":"linux"}',)),
    "run, words": ResultFilter(run_id="run_20000", words=("1", "CASE")),
    "run, words (no match)": ResultFilter(run_id="run_20000", words=("a", "b", "c", "d", "e")),
    "run, failed, words": ResultFilter(run_id="run_20000", statuses=("f",), words=("case",)),
    "run, suite, words": ResultFilter(run_id="run_20000", suite="suite 10", words=("case",)),
    "run, longest first": ResultFilter(run_id="run_20000", sort="-duration_ms"),
    "run, failed, longest first": ResultFilter(run_id="run_20000", statuses=("f",), sort="-duration_ms"),
    "run, by suite": ResultFilter(run_id="run_20000", sort="suite"),
    "run, suite": ResultFilter(run_id="run_20000", suite="suite 10"),
    "project": ResultFilter(project_id="p0"),
    "project, failed": ResultFilter(project_id="p0", statuses=("f",)),
    "project, error": ResultFilter(project_id="p0", statuses=("e",)),
    "project, failed or error": ResultFilter(project_id="p0", statuses=("e", "f")),
    "project, skipped (no match)": ResultFilter(project_id="p0", statuses=("s",)),
    "environment": ResultFilter(environment="env1"),
    "environment, failed": ResultFilter(environment="env1", statuses=("f",)),
    "branch": ResultFilter(branch="main"),
    "branch (rare)": ResultFilter(branch="old"),
    "branch (no match)": ResultFilter(branch="none"),
    "branch, environment": ResultFilter(branch="main", environment="env1"),
    "branch, environment (no match)": ResultFilter(branch="main", environment="none"),
    "project, branch": ResultFilter(project_id="p0", branch="main"),
    "project, branch (no run with both)": ResultFilter(project_id="p1", branch="main"),
    "project, environment (no match)": ResultFilter(project_id="p1", environment="none"),
    "case": ResultFilter(case_key=CASE, project_id="p0"),
    "case, failed": ResultFilter(case_key=CASE, project_id="p0", statuses=("f",)),
    "case, branch": ResultFilter(case_key=CASE, project_id="p0", branch="main"),
    "case (in no run)": ResultFilter(case_key=CaseKey(7), project_id="p0"),
    "case_id in several projects": ResultFilter(case_id="tc_20"),
    "project, branch, environment, dates, failed": ResultFilter(("f",), FROM_MS, TO_MS, "p0", "env1", "main"),
}
RUN_FILTERS: Final = {
    "runs": RunFilter(),
    "runs, status (no match)": RunFilter(statuses=("c",)),
    "runs, project, branch": RunFilter(project_id="p0", branch="main"),
    "runs, commit": RunFilter(commit_sha=COMMIT),
    "runs, label (no match)": RunFilter(labels=('{"team":"none"}',)),
    "runs, pull request (no match)": RunFilter(pull_request="7"),
    "runs, project, flaky": RunFilter(project_id="p4", flaky=True),
    "runs, flaky": RunFilter(flaky=True),
    "runs, branch, environment (no match)": RunFilter(branch="main", environment="none"),
}
# In addition to the named filters, the benchmark measures every combination of these values.
COMBINED: Final[dict[str, list[Any]]] = {
    "statuses": [(), ("p",), ("f",), ("e", "f"), ("s",)],
    "run_id": [None, "run_20000"],
    "from_ms": [None, FROM_MS],
    "project_id": [None, "p0", "p1", "none"],
    "environment": [None, "env1", "none"],
    "branch": [None, "main", "old", "none"],
    "flaky": [None, True],
    "case_key": [None, CASE, CaseKey(7)],
    "case_id": [None, "tc_20"],
    "suite": [None, "suite 10"],
}
RANKED: Final = ResultFilter(project_id="p0")
FIRST_EXECUTIONS: Final = 5
SLOWEST: Final = 10


def combinations() -> Iterator[tuple[str, ResultFilter]]:
    """Yield every combination of filters with a name."""
    for chosen in itertools.product(*COMBINED.values()):
        combination = dict(zip(COMBINED, chosen, strict=True))
        if (combination["suite"] is None or combination["run_id"]) and not (
            combination["case_key"] and combination["case_id"]
        ):
            name = ", ".join(f"{key} {value}" for key, value in combination.items() if value)
            yield name or "nothing", ResultFilter(**combination)


def values(org_id: OrgId, filter_: RunFilter) -> dict[str, Any]:
    """Return the parameters of a list."""
    return filter_values(org_id, filter_, None) | {
        "page": 100, "commits": [filter_.commit_sha or ""], "after_case": None,
    }  # fmt: skip


def page_statement(filter_: RunFilter) -> Statement:
    """Return the statement of a page of results or runs. The filter contains a complete commit."""
    by_commit = filter_.commit_sha is not None
    if isinstance(filter_, ResultFilter):
        return read_results.page_statement(filter_, by_commit=by_commit)
    return read_runs.page_statement(filter_, by_commit=by_commit)


class Explained:
    """A prepared statement that runs under EXPLAIN ANALYZE."""

    def __init__(self, connection: Any, statement: Statement) -> None:
        self._connection, self._statement = connection, statement

    async def times(self, arguments: dict[str, Any], times: int = EXECUTIONS) -> tuple[list[float], set[str]]:
        """Return the sorted milliseconds of the executions, and the tables that they scanned completely.

        A table of one page is not among them, because PostgreSQL reads it as fast as with an index.
        """
        await self._connection.execute(f"PREPARE measured AS {self._statement.text}")
        literals = ", ".join(literal(arguments[name]) for name in self._statement.names)
        query = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE measured ({literals})"
        plans = [orjson.loads(await self._connection.fetchval(query))[0] for _ in range(times)]
        await self._connection.execute("DEALLOCATE measured")
        scanned = {
            node["Relation Name"] for node in plan_nodes(plans[-1]["Plan"])
            if node["Node Type"] == "Seq Scan" and node["Actual Rows"] > 0
        }  # fmt: skip
        return sorted(plan["Execution Time"] for plan in plans[times // 20 :]), await self._larger_tables(scanned)

    async def _larger_tables(self, names: set[str]) -> set[str]:
        """Return the tables that have more than one page."""
        statement = "SELECT relname FROM pg_class WHERE relname = ANY($1) AND relpages > 1"
        return {row["relname"] for row in await self._connection.fetch(statement, list(names))} if names else set()


def literal(value: Any) -> str:
    """Return a value as a literal for EXECUTE."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "'{" + ",".join(json.dumps(item, default=str) for item in value) + "}'"
    return str(value) if isinstance(value, int) else f"'{value}'"


def line(name: str, times: list[float], scanned: set[str], budget_ms: float) -> None:
    """Print the times of one statement."""
    p50, p99 = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
    comment = "" if p99 <= budget_ms and not scanned else "  OVER BUDGET" + (f" {scanned}" if scanned else "")
    print(f"  {name:<48} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms{comment}")


async def measure_statements(url: str) -> None:
    """Measure every filter in PostgreSQL, in an organization with many results and in one with many runs."""
    pool = await database.open_pool(url, "results_api", 1)
    for org_id, size in ((ORG, "2.5 M results of 10 M"), (MANY_RUNS, "1 M runs")):
        print(f"in PostgreSQL, an organization of {size}:")
        async with database.as_organization(pool, org_id) as connection:
            statements: dict[str, tuple[Statement, dict[str, Any], float]] = {
                **{name: (page_statement(f), values(org_id, f), 5) for name, f in (FILTERS | RUN_FILTERS).items()},
                "cases of a project": (compose("page_of_cases"), of_cases(org_id), 10),
                "one case": (compose("one_case"), of_cases(org_id), 10),
                **{name: (*measured, RANKING_BUDGET_MS) for name, measured in of_failures(org_id).items()},
                **{
                    f"ranking by {ranking}": (
                        compose(f"ranked_by_{ranking}"),
                        values(org_id, RANKED) | read_cases.ranking_values(RANKED, 50, 100),
                        RANKING_BUDGET_MS,
                    )
                    for ranking in get_args(Ranking)
                },
                **{f"statistics, {name}": (*measured, 50) for name, measured in of_stats(org_id).items()},
            }
            for name, (statement, arguments, budget_ms) in statements.items():
                line(name, *await Explained(connection, statement).times(arguments), budget_ms)
    await pool.close()


async def measure_comparison(url: str) -> None:
    """Measure each statement of a comparison. The sum of their p99 is an upper limit of the p99 of the comparison."""
    pool = await database.open_pool(url, "results_api", 1)
    print("a comparison of 10,000 with 10,000 results, 200 failures, and a window of 20 runs:")
    total_ms = 0.0
    async with database.as_organization(pool, COMPARED) as connection:
        for name, statement, arguments in await comparison_statements(connection, COMPARED):
            times, scanned = await Explained(connection, statement).times(arguments)
            line(name, times, scanned, COMPARISON_BUDGET_MS)
            total_ms += times[min(len(times) - 1, int(len(times) * 0.99))]
    await pool.close()
    print(f"  sum of the p99: {total_ms:.2f} ms (budget {COMPARISON_BUDGET_MS} ms)")


async def measure_combinations(url: str) -> None:
    """Find the slowest combinations with a few executions of each, and then measure them like the named filters."""
    pool = await database.open_pool(url, "results_api", 1)
    for org_id, size in ((ORG, "2.5 M results of 10 M"), (MANY_RUNS, "1 M runs")):
        async with database.as_organization(pool, org_id) as connection:
            found = []
            for name, filter_ in combinations():
                explained = Explained(connection, read_results.page_statement(filter_))
                times, scanned = await explained.times(values(org_id, filter_), FIRST_EXECUTIONS)
                found.append((statistics.median(times), name, filter_, scanned))
            found.sort(key=lambda measured: measured[0], reverse=True)
            print(f"the slowest of {len(found):,} combinations of filters, an organization of {size}:")
            for _, name, filter_, _ in found[:SLOWEST]:
                explained = Explained(connection, read_results.page_statement(filter_))
                line(name, *await explained.times(values(org_id, filter_)), 5)
            print(f"  and tables scanned completely: {set().union(*(scanned for *_, scanned in found)) or 'none'}")
    await pool.close()


def of_cases(org_id: OrgId) -> dict[str, Any]:
    """Return the parameters of the statements about cases."""
    return {
        "org_id": org_id, "project_id": "p0", "suite": None, "runs": 50, "page": 20, "after_suite": -(2**63),
        "after_case": -(2**63), "case_key": CASE,
    }  # fmt: skip


def of_failures(org_id: OrgId) -> dict[str, tuple[Statement, dict[str, Any]]]:
    """Return the statements of failure groups, with their parameters."""
    filters = {
        "project": ResultFilter(project_id="p0"),
        "project and branch": ResultFilter(project_id="p0", branch="main"),
        "run": ResultFilter(run_id="run_20000"),
    }
    one = values(org_id, ResultFilter(fingerprint=GROUP))
    found = {"range of a failure group": (compose("failure_group_range"), one | {"newest_from": one["first_key"]})}
    for name, filter_ in filters.items():
        arguments = values(org_id, filter_)
        arguments |= read_failures.group_values(filter_, arguments, Budgets(2_000, 5_000))
        found[f"failure groups of a {name}"] = compose(read_failures.statement_name(filter_)), arguments
    return found


def of_stats(org_id: OrgId) -> dict[str, tuple[Statement, dict[str, Any]]]:
    """Return the statements of statistics about the newest 20,000 runs, with their parameters."""
    filters = {"all runs": RunFilter(), "project": RunFilter(project_id="p0")}
    return {
        f"{name}, by {group_by or 'time'}": (
            compose(read_stats.statement_name(filter_, group_by)),
            values(org_id, filter_) | read_stats.stats_values("day", group_by),
        )
        for name, filter_ in filters.items()
        for group_by in (None, *get_args(Grouping))
    }


async def measure_pages(url: str) -> float:
    """Return how many times longer page 10,000 of 100 results takes than the first page."""
    pool = await database.open_pool(url, "results_api", 1)
    async with database.as_organization(pool, ORG) as connection:
        row = await connection.fetchrow(
            "SELECT run_key, case_key FROM results WHERE org_id = $1 ORDER BY run_key DESC, case_key DESC"
            " OFFSET 999900 LIMIT 1",
            ORG,
        )
        assert row is not None
        explained = Explained(connection, read_results.page_statement(ResultFilter()))
        first, _ = await explained.times(values(ORG, ResultFilter()), 300)
        deep = values(ORG, ResultFilter()) | {
            "before_run": RunKey(UUID(str(row["run_key"]))), "before_case": row["case_key"],
        }  # fmt: skip
        far, _ = await explained.times(deep, 300)
    await pool.close()
    print(f"page 1: {statistics.median(first):.2f} ms, page 10,000: {statistics.median(far):.2f} ms")
    return statistics.median(far) / statistics.median(first)


def print_pages(url: str) -> None:
    """Compare the first page of a list with a distant one."""
    print(f"ratio of page 10,000 to the first: {asyncio.run(measure_pages(url)):.2f} (budget 1.2)")


PARTS: Final[Mapping[str, Callable[[str], None]]] = {
    "pages": print_pages,
    "statements": lambda url: asyncio.run(measure_statements(url)),
    "comparison": lambda url: asyncio.run(measure_comparison(url)),
    "combinations": lambda url: asyncio.run(measure_combinations(url)),
}


async def prepare(url: str, runs: int, small_runs: int) -> None:
    """Apply the schema and insert the rows, except into a database that contains rows."""
    await migrations.apply(url)
    connection = await asyncpg.connect(url)
    is_filled = await connection.fetchval("SELECT EXISTS (SELECT 1 FROM organizations)")
    await connection.close()
    if not is_filled:
        started = time.perf_counter()
        await fill(url, runs, small_runs)
        print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)


def main() -> None:
    """Fill a database, measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50_000, help="runs of 200 results")
    parser.add_argument("--small-runs", type=int, default=1_000_000, help="runs of two results, in one organization")
    parser.add_argument("--database", help="URL of an empty database, or of one that this benchmark filled before")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: {' '.join(PARTS)}")
    chosen = parser.parse_args()
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"PART: {', '.join(sorted(unknown))} not found; use {', '.join(PARTS)}")
    with nullcontext() if chosen.database else servers(with_broker=False) as given:
        url = given.database_url if given else chosen.database
        asyncio.run(prepare(url, chosen.runs, chosen.small_runs))
        for part in chosen.parts or PARTS:
            PARTS[part](url)


if __name__ == "__main__":
    main()
