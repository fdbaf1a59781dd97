"""Queries for failure groups, as JSON that PostgreSQL writes."""

from typing import Final, NamedTuple

from service.domain.errors import Unavailable
from service.domain.filters import ResultFilter
from service.domain.ids import Fingerprint, OrgId
from service.store.postgres.composition import MAX_READ_ROWS, MAX_READ_RUNS, Statement, compose
from service.store.postgres.database import Connection, Row
from service.store.queries.filter_values import filter_values
from service.store.queries.results import Budgets

# Each failing result takes 2 µs, because the fingerprint is read from the table and the results are sorted.
_OF_PROJECT: Final = Budgets(MAX_READ_RUNS, 5_000)
_OF_RUN: Final = Budgets(MAX_READ_RUNS, MAX_READ_ROWS)
_ATTEMPTS: Final = 3
_MINUTES: Final = 1_000  # of one group; each needs a probe of the details


class RankedGroups(NamedTuple):
    """`data` is a JSON array. `truncated` states that a scan budget ended before the range did."""

    data: str
    truncated: bool


async def list_groups(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, limit: int, budgets: Budgets | None = None
) -> RankedGroups:
    """Return the failure groups of a run, or of the newest runs of a project, those with most results first."""
    values = filter_values(org_id, filter_, None) | {"page": limit}
    if filter_.run_id is not None:
        run_key = await compose("key_of_run").fetch_value(connection, values)
        if run_key is None:
            return RankedGroups("[]", truncated=False)
        values["first_key"] = max(values["first_key"], run_key)
        values["before_run"] = min(values["before_run"], run_key)
    return RankedGroups(*await list_statement(filter_, budgets).fetch_row(connection, values))


async def find_one(
    connection: Connection, org_id: OrgId, fingerprint: Fingerprint, project_id: str | None
) -> str | None:
    """Return one group as JSON, or None if the organization, or the given project, has no such failure.

    Reads the group again if its first or last run was deleted since its range was read. Raises Unavailable if
    this occurs several times.
    """
    for _ in range(_ATTEMPTS):
        bounds = await _find_range(connection, org_id, fingerprint, project_id)
        if bounds is None:
            return None
        values = {"org_id": org_id, "fingerprint": fingerprint, **bounds}
        text: str | None = await one_statement().fetch_value(connection, values)
        if text is not None:
            return text
    raise Unavailable("runs of the failure group are being deleted; try again later")


async def find_project(
    connection: Connection, org_id: OrgId, fingerprint: Fingerprint, project_id: str | None
) -> str | None:
    """Return the project of a group, or None if the organization, or the given project, has no such failure."""
    bounds = await _find_range(connection, org_id, fingerprint, project_id)
    return None if bounds is None else bounds["project_id"]


async def _find_range(
    connection: Connection, org_id: OrgId, fingerprint: Fingerprint, project_id: str | None
) -> Row | None:
    """Return the run keys between which all failures of a group are, and its project."""
    filter_ = ResultFilter(fingerprint=fingerprint, project_id=project_id)
    rows = await compose("failure_group_range").fetch_rows(connection, filter_values(org_id, filter_, None))
    return rows[0] if rows else None


def list_statement(filter_: ResultFilter, budgets: Budgets | None = None) -> Statement:
    """Return the statement for the list."""
    runs = "project" if filter_.branch is None else "branch"
    runs = "run" if filter_.run_id is not None else runs
    lists_newest = filter_.run_id is None and filter_.branch is None and filter_.to_ms is None
    budgets = budgets or (_OF_PROJECT if filter_.run_id is None else _OF_RUN)
    return compose(
        "ranked_failure_groups",
        failing_runs=f"failing_runs_of_{runs}",
        first_run="oldest_failure",
        last_run="example_run" if lists_newest else "newest_failure",
        run_budget=budgets.runs,
        row_budget=budgets.rows,
    )


def one_statement() -> Statement:
    """Return the statement for one group."""
    return compose(
        "one_failure_group",
        first_run="first_run_of_range",
        last_run="example_run",
        row_budget=_OF_PROJECT.rows,
        minute_budget=_MINUTES,
    )
