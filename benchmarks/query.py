"""Query performance: the time in PostgreSQL, and distant pages. `benchmarks.query_requests` measures requests.

    python -m benchmarks.query [--runs 50000] [--small-runs 1000000] [--database postgresql://…] [PART …]

It measures all parts, or only the given ones. A database that it filled before is used again.

It calls the function that reads a page, and then executes each statement of that call again under EXPLAIN ANALYZE. The
time of a page is the sum of the execution times of its statements, without planning, the driver, and the process.

The data are 10 M results in 20 organizations and 1 M runs in one. Limits: page 10,000 takes at most 1.2 times as long
as the first page. The p99 of every filter and combination is at most 5 ms in PostgreSQL, without a sequential scan. The
p99 of case statistics is at most 10 ms, that of a ranking of cases is at most 20 ms, and that of statistics about
20,000 runs, or of a comparison of 10,000 with 10,000 results, is at most 50 ms. The evidence of 10
failures takes at most 10 ms more, and the evidence of 1,000 failures at most 400 ms.
"""

import argparse
import asyncio
import hashlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Final, NamedTuple, get_args
from uuid import UUID

import asyncpg

from benchmarks.query_comparison import comparison_reads
from benchmarks.query_data import fill
from benchmarks.servers import servers
from benchmarks.statements import Read, explain, record
from service.cases import store as cases_store
from service.cases.model import RunRanking
from service.database import database, migrations
from service.database.database import Connection
from service.domain.filters import Position, ResultFilter, RunFilter
from service.domain.ids import CaseKey, Fingerprint, OrgId, RunKey
from service.failures import store as failures_store
from service.results import queries as results_queries
from service.runs import store as runs_store
from service.stats import store as stats_store
from service.stats.model import RunGrouping
from tests.database.large import plan_nodes

ORG, MANY_RUNS, COMPARED = OrgId(1), OrgId(21), OrgId(22)
SIZES: Final = {ORG: "2.5 M results of 10 M", MANY_RUNS: "1 M runs"}
PAGE: Final = 100
BUDGET_MS: Final = 5
CASES_BUDGET_MS: Final = 10
RANKING_BUDGET_MS: Final = 20
STATS_BUDGET_MS: Final = 50
COMPARISON_BUDGET_MS: Final = 50
EVIDENCE_BUDGETS_MS: Final = {"evidence of 10 failures": 10, "evidence of 1,000 failures": 400}
GROUP: Final = Fingerprint(10)
CASE, UNUSED_CASE = (CaseKey(n * 900719925474099 - 4503599627370495000) for n in (20, 2000))  # as in query.sql
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
    "case (in no run)": ResultFilter(case_key=UNUSED_CASE, project_id="p0"),
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
    "runs, author (no match)": RunFilter(author="none"),
    "runs, project, flaky": RunFilter(project_id="p4", flaky=True),
    "runs, flaky": RunFilter(flaky=True),
    "runs, branch, environment (no match)": RunFilter(branch="main", environment="none"),
}
# In addition to the named filters, the benchmark measures every combination of these values. The statements are static:
# each filter chooses one or is a condition, so no value, one that many rows have, and one that none has represent all.
COMBINED: Final[dict[str, list[Any]]] = {
    "statuses": [(), ("p",), ("f",), ("e", "f"), ("s",)],
    "run_id": [None, "run_20000"],
    "project_id": [None, "p0"],
    "environment": [None, "env1", "none"],
    "branch": [None, "main", "none"],
    "flaky": [None, True],
    "case_key": [None, CASE, UNUSED_CASE],
    "case_id": [None, "tc_20"],
    "suite": [None, "suite 10"],
}
RANKED: Final = ResultFilter(project_id="p0")
FIRST_EXECUTIONS: Final = 5
SLOWEST: Final = 10


class PageTimes(NamedTuple):
    """The sorted times of a page in ms, and the tables that its statements scanned completely.

    A table of one page is not among them, because PostgreSQL reads it as fast as with an index.
    """

    times_ms: list[float]
    scanned: set[str]

    @property
    def p50_ms(self) -> float:
        return self.times_ms[len(self.times_ms) // 2]

    @property
    def p99_ms(self) -> float:
        return self.times_ms[min(len(self.times_ms) - 1, int(len(self.times_ms) * 0.99))]


def combinations() -> Iterator[tuple[str, ResultFilter]]:
    """Yield every combination of filters with a name.

    A run is not combined with other filters of runs, which would be conditions for one row. A suite needs a run.
    """
    for chosen in itertools.product(*COMBINED.values()):
        combination = dict(zip(COMBINED, chosen, strict=True))
        filters_runs = any(combination[name] for name in ("project_id", "environment", "branch"))
        excluded = filters_runs if combination["run_id"] else combination["suite"]
        if not excluded and not (combination["case_key"] and combination["case_id"]):
            name = ", ".join(f"{key} {value}" for key, value in combination.items() if value)
            filter_ = ResultFilter(**combination)
            if not filter_.excludes_all:
                yield name or "nothing", filter_


def page_of(org_id: OrgId, filter_: RunFilter, after: Position | None = None) -> Read:
    """Return the function that reads a page of results, or the first page of runs."""
    if isinstance(filter_, ResultFilter):
        return lambda connection: results_queries.list_page(connection, org_id, filter_, after, PAGE)
    return lambda connection: runs_store.list_page(connection, org_id, filter_, None, PAGE)


async def measure(connection: Connection, read: Read, times: int = EXECUTIONS) -> PageTimes:
    """Execute each statement of a read function several times, and return the sums of their times."""
    options = "ANALYZE, TIMING OFF"
    explained = [await explain(connection, one, options, times) for one in await record(connection, read)]
    sums_ms = [sum(one["Execution Time"] for one in page) for page in zip(*explained, strict=True)]
    scanned = {
        node["Relation Name"] for of_statement in explained for node in plan_nodes(of_statement[-1]["Plan"])
        if node["Node Type"] == "Seq Scan" and node["Actual Rows"] > 0
    }  # fmt: skip
    return PageTimes(sorted(sums_ms[times // 20 :]), await _larger_tables(connection, scanned))


async def _larger_tables(connection: Connection, names: set[str]) -> set[str]:
    """Return the tables that have more than one page."""
    statement = "SELECT relname FROM pg_class WHERE relname = ANY($1) AND relpages > 1"
    return {row["relname"] for row in await connection.fetch(statement, list(names))} if names else set()


def print_times(name: str, page: PageTimes, budget_ms: float) -> None:
    """Print the times of one page."""
    comment = "" if page.p99_ms <= budget_ms and not page.scanned else "  OVER BUDGET"
    comment += f" {page.scanned}" if page.scanned else ""
    print(f"  {name:<48} p50 {page.p50_ms:6.2f} ms   p99 {page.p99_ms:6.2f} ms{comment}", flush=True)


async def measure_statements(url: str) -> None:
    """Measure every filter in PostgreSQL, in an organization with many results and in one with many runs."""
    pool = await database.open_pool(url, "results_api", 1)
    for org_id, size in SIZES.items():
        print(f"in PostgreSQL, an organization of {size}:")
        pages = {name: page_of(org_id, filter_) for name, filter_ in (FILTERS | RUN_FILTERS).items()}
        async with database.as_organization(pool, org_id) as connection:
            for reads, budget_ms in (
                (pages, BUDGET_MS),
                (of_cases(org_id), CASES_BUDGET_MS),
                (of_failures(org_id) | of_rankings(org_id), RANKING_BUDGET_MS),
                (of_stats(org_id), STATS_BUDGET_MS),
            ):
                for name, read in reads.items():
                    print_times(name, await measure(connection, read), budget_ms)
    await database.close_pool(pool)


async def measure_comparison(url: str) -> None:
    """Measure each read of a comparison. The sum of their p99 is an upper limit of the p99 of the comparison."""
    pool = await database.open_pool(url, "results_api", 1)
    print("a comparison of 10,000 with 10,000 results, 1,000 failures, and a window of 100 runs:")
    total_ms = 0.0
    async with database.as_organization(pool, COMPARED) as connection:
        for name, read in (await comparison_reads(connection, COMPARED)).items():
            measured = await measure(connection, read)
            print_times(name, measured, EVIDENCE_BUDGETS_MS.get(name, COMPARISON_BUDGET_MS))
            total_ms += 0 if name in EVIDENCE_BUDGETS_MS else measured.p99_ms
    await database.close_pool(pool)
    print(f"  sum of the p99 without evidence: {total_ms:.2f} ms (budget {COMPARISON_BUDGET_MS} ms)")


async def measure_combinations(url: str) -> None:
    """Find the slowest combinations with a few executions of each, and then measure them like the named filters."""
    pool = await database.open_pool(url, "results_api", 1)
    for org_id, size in SIZES.items():
        async with database.as_organization(pool, org_id) as connection:
            found = [
                (await measure(connection, page_of(org_id, filter_), FIRST_EXECUTIONS), name, filter_)
                for name, filter_ in combinations()
            ]
            found.sort(key=lambda measured: measured[0].p50_ms, reverse=True)
            print(f"the slowest of {len(found):,} combinations of filters, an organization of {size}:")
            for _, name, filter_ in found[:SLOWEST]:
                print_times(name, await measure(connection, page_of(org_id, filter_)), BUDGET_MS)
            print(f"  and tables scanned completely: {set().union(*(page.scanned for page, *_ in found)) or 'none'}")
    await database.close_pool(pool)


def of_cases(org_id: OrgId) -> dict[str, Read]:
    """Return the reads of cases."""
    return {
        "cases of a project": lambda c: cases_store.list_page(c, org_id, ResultFilter(project_id="p0"), 50, None, 20),
        "one case": lambda c: cases_store.find_one(c, org_id, CASE, None, 50),
    }


def of_failures(org_id: OrgId) -> dict[str, Read]:
    """Return the reads of failure groups."""

    def groups(filter_: ResultFilter) -> Read:
        return lambda c: failures_store.list_groups(c, org_id, filter_, PAGE)

    return {
        "failure groups of a project": groups(ResultFilter(project_id="p0")),
        "failure groups of a project and branch": groups(ResultFilter(project_id="p0", branch="main")),
        "failure groups of a run": groups(ResultFilter(run_id="run_20000")),
        "one failure group": lambda c: failures_store.find_one(c, org_id, GROUP, None),
    }


def of_rankings(org_id: OrgId) -> dict[str, Read]:
    """Return the rankings of cases."""

    def ranked(ranking: RunRanking) -> Read:
        return lambda c: cases_store.list_ranked(c, org_id, RANKED, ranking, 50, PAGE)

    return {f"ranking by {ranking}": ranked(ranking) for ranking in get_args(RunRanking)}


def of_stats(org_id: OrgId) -> dict[str, Read]:
    """Return the reads of statistics about the newest 20,000 runs."""

    def stats(filter_: RunFilter, group_by: RunGrouping | None) -> Read:
        return lambda c: stats_store.find(c, org_id, filter_, "day", group_by)

    filters = {"all runs": RunFilter(), "project": RunFilter(project_id="p0")}
    return {
        f"statistics, {name}, by {group_by or 'time'}": stats(filter_, group_by)
        for name, filter_ in filters.items()
        for group_by in (None, *get_args(RunGrouping))
    }


async def measure_pages(url: str) -> None:
    """Compare the page after the newest result with page 10,000 of 100 results.

    The first page has no position, so it would also search the months between the newest result and now.
    """
    pool = await database.open_pool(url, "results_api", 1)
    async with database.as_organization(pool, ORG) as connection:
        rows = [
            await connection.fetchrow(
                "SELECT run_key, case_key FROM results WHERE org_id = $1 ORDER BY run_key DESC, case_key DESC"
                " OFFSET $2 LIMIT 1",
                ORG,
                offset,
            )
            for offset in (0, 999_900)
        ]
        positions = [Position(RunKey(UUID(str(row[0]))), CaseKey(row[1])) for row in rows if row]
        medians = [(await measure(connection, page_of(ORG, ResultFilter(), after), 300)).p50_ms for after in positions]
    await database.close_pool(pool)
    if len(medians) < len(rows):
        print("page 10,000: the organization has fewer results")
        return
    first, far = medians
    print(f"page 1: {first:.2f} ms, page 10,000: {far:.2f} ms, ratio {far / first:.2f} (budget 1.2)")


PARTS: Final[Mapping[str, Callable[[str], Any]]] = {
    "pages": measure_pages,
    "statements": measure_statements,
    "comparison": measure_comparison,
    "combinations": measure_combinations,
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
            asyncio.run(PARTS[part](url))


if __name__ == "__main__":
    main()
