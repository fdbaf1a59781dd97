"""Queries for the comparison of a run with the runs of its window. Each one reads the snapshot of its transaction."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.comparison.model import (
    EXAMINED_RUNS,
    MAX_COMPARED_RESULTS,
    MAX_LISTED_CASES,
    WINDOW_RUNS,
    ComparedPart,
    ComparedRun,
    ListPosition,
    StatusPair,
)
from service.database.database import Connection, Row
from service.database.statements import Statement, compose, statements
from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.statuses import Counts
from service.domain.variants import canonical_variant
from service.quarantines.model import CaseTexts
from service.runs.store import RunSelector

ResultsByCase = Mapping[CaseKey, tuple[str, bool]]  # the status code, and whether the result is flaky

_SQL: Final = statements("comparison")


class RunToCompare(NamedTuple):
    """A run, and the branch of its baseline candidates."""

    run: ComparedRun
    baseline_branch: str


class PairPage(NamedTuple):
    """The cases to list: those with the pairs of `ranks`, in the order of their rank and key, after a position."""

    ranks: Mapping[StatusPair, int]
    after: ListPosition
    limit: int


class ComparedStatuses(NamedTuple):
    """The number of cases with each pair of statuses, and the requested page of cases with their pairs."""

    counts: Mapping[StatusPair, int]
    page: Sequence[tuple[CaseKey, StatusPair]]


async def find_run(connection: Connection, org_id: OrgId, selector: RunSelector) -> RunToCompare | None:
    """Return a run, or None if the organization, or the given project, doesn't have it."""
    values = {"org_id": org_id, **selector._asdict()}
    rows = await compose("compared_run").fetch_rows(connection, values)
    return RunToCompare(_compared_run(rows[0]), rows[0]["baseline_branch"]) if rows else None


async def find_window(connection: Connection, org_id: OrgId, run: ComparedRun, branch: str) -> list[ComparedRun]:
    """Return the newest baseline candidates of a run on a branch, newest first."""
    values = {
        "org_id": org_id, "project_id": run.project_id, "environment": run.environment, "branch": branch,
        "run_key": run.run_key,
    }  # fmt: skip
    return [_compared_run(row) for row in await window_statement().fetch_rows(connection, values)]


async def has_branch(connection: Connection, org_id: OrgId, run: ComparedRun, branch: str) -> bool:
    """Return whether the project of a run has any run on this branch."""
    values = {"org_id": org_id, "project_id": run.project_id, "branch": branch}
    return bool(await compose("has_branch").fetch_value(connection, values))


async def find_failing(connection: Connection, org_id: OrgId, run_key: RunKey) -> list[CaseKey]:
    """Return the cases that failed or had an error in a run, in the order of their keys.

    At most `MAX_COMPARED_RESULTS` are returned.
    """
    found: list[CaseKey] = await failing_statement().fetch_value(connection, {"org_id": org_id, "run_key": run_key})
    return found


async def find_texts(connection: Connection, org_id: OrgId, cases: Sequence[CaseKey]) -> list[CaseTexts]:
    """Return the texts of some cases."""
    values = {"org_id": org_id, "case_keys": cases}
    return [CaseTexts(*row) for row in await compose("texts_of_cases").fetch_rows(connection, values)]


async def find_history(
    connection: Connection, org_id: OrgId, window: Sequence[RunKey], cases: Sequence[CaseKey]
) -> dict[RunKey, ResultsByCase]:
    """Return the results of some cases in the runs of a window, by run."""
    if not window or not cases:
        return {}
    values = {"org_id": org_id, "case_keys": cases, **values_of_runs(window)}
    rows = await history_statement().fetch_rows(connection, values)
    return {
        row["run_key"]: dict(zip(row["case_keys"], zip(row["statuses"], row["flaky"], strict=True), strict=True))
        for row in rows
    }


async def find_retried(
    connection: Connection, org_id: OrgId, run_key: RunKey, cases: Sequence[CaseKey]
) -> frozenset[CaseKey]:
    """Return the given cases that have several attempts in a run."""
    values = {"org_id": org_id, "run_key": run_key, "case_keys": cases}
    return frozenset(await compose("retried_results").fetch_value(connection, values) if cases else ())


async def merge_results(
    connection: Connection, org_id: OrgId, keys: tuple[RunKey, RunKey | None], page: PairPage
) -> ComparedStatuses:
    """Compare all results of a run with those of its baseline. `keys` are the keys of both runs."""
    values = {
        "org_id": org_id, "run_key": keys[0], "baseline_key": keys[1], "page": page.limit,
        "pairs": [pair.code for pair in page.ranks], "ranks": list(page.ranks.values()),
        "after_rank": page.after.order, "after_case": page.after.case_key,
    }  # fmt: skip
    row = await compose("merged_results").fetch_row(connection, values)
    counts = {StatusPair.parse(code): count for code, count in zip(row["pairs"], row["counts"], strict=True)}
    pairs = map(StatusPair.parse, row["page_pairs"])
    return ComparedStatuses(counts, list(zip(row["case_keys"], pairs, strict=True)))


def values_of_runs(run_keys: Sequence[RunKey]) -> dict[str, Any]:
    """Return the parameters for these runs, with the range of their keys, so that only its months are opened."""
    return {"run_keys": run_keys, "first_key": min(run_keys), "before_run": max(run_keys)}


def window_statement() -> Statement:
    """Return the statement for the window of a run."""
    return compose("window_of_run", examined_runs=EXAMINED_RUNS, window_runs=WINDOW_RUNS)


def failing_statement() -> Statement:
    """Return the statement for the failing cases of a run."""
    return compose("failing_results", max_failing=MAX_COMPARED_RESULTS)


def history_statement() -> Statement:
    """Return the statement for the results of some cases in a window."""
    return compose("results_in_window", max_failing=MAX_COMPARED_RESULTS)


def _compared_run(row: Row) -> ComparedRun:
    values = dict(row)
    values.pop("baseline_branch", None)
    counts = Counts(**{name: values.pop(name) for name in Counts._fields})
    return ComparedRun(**values, counts=counts)


class ReplayedRun(NamedTuple):
    """A run of a pull request. `is_last` tells whether it is the newest complete run of the pull request."""

    run_key: RunKey
    run_id: str
    pull_request: str
    is_last: bool


async def find_newest(connection: Connection, org_id: OrgId, project_id: str) -> RunKey | None:
    """Return the newest run of a project, or None if there is no run."""
    found: RunKey | None = await connection.fetchval(_SQL["find_newest_run"], org_id, project_id)
    return found


async def find_replayed(
    connection: Connection, org_id: OrgId, project_id: str, after: RunKey, limit: int
) -> list[ReplayedRun]:
    """Return the next complete, failing runs of pull requests, oldest first."""
    values = {"org_id": org_id, "project_id": project_id, "run_key": after, "page": limit}
    return [ReplayedRun(*row) for row in await compose("replayed_runs").fetch_rows(connection, values)]


async def find_next(connection: Connection, org_id: OrgId, run: ComparedRun, branch: str) -> ComparedRun | None:
    """Return the oldest baseline candidate on a branch that is newer than a run, or None."""
    values = {
        "org_id": org_id, "project_id": run.project_id, "environment": run.environment, "branch": branch,
        "run_key": run.run_key,
    }  # fmt: skip
    rows = await compose("next_candidate").fetch_rows(connection, values)
    return _compared_run(rows[0]) if rows else None


class ComparedKeys(NamedTuple):
    """A run and its baseline."""

    org_id: OrgId
    run_key: RunKey
    baseline_key: RunKey


class RemovedCases(NamedTuple):
    """Removed cases that the same parts executed: the numbers of the parts, and the first cases by key."""

    numbers: frozenset[int]
    cases: int
    first: list[CaseKey]


async def find_parts(connection: Connection, keys: ComparedKeys, window: Sequence[RunKey]) -> list[ComparedPart]:
    """Return the parts of the run and of its baseline, which is in the window. A run of an earlier version has none.

    PostgreSQL counts the runs, because the runs of a window can have hundreds of thousands of parts and attempts.
    """
    rows = await connection.fetch(_SQL["find_compared_parts"], *keys, window)
    return [
        ComparedPart(
            (row["name"], canonical_variant(row["variant"]), row["shard"]),
            row["runs"],
            row["is_accepted"],
            row["numbers"],
        )
        for row in rows
    ]


async def find_removed(connection: Connection, keys: ComparedKeys) -> list[RemovedCases]:
    """Return the cases that the baseline executed and the run doesn't contain."""
    rows = await connection.fetch(_SQL["find_removed_cases"], *keys, MAX_LISTED_CASES)
    return [RemovedCases(frozenset(numbers), cases, first) for numbers, cases, first in rows]
