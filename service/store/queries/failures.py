"""Queries for failure groups, as JSON that PostgreSQL writes."""

from typing import Final, NamedTuple

from service.domain.filters import ResultFilter
from service.domain.ids import Fingerprint, OrgId
from service.store.postgres.composition import MAX_READ_ROWS, MAX_READ_RUNS, Statement, compose
from service.store.postgres.database import Connection
from service.store.queries.filter_values import filter_values
from service.store.queries.results import Budgets

# Each failing result takes 2 µs, because the fingerprint is read from the table and the results are sorted.
_OF_PROJECT: Final = Budgets(MAX_READ_RUNS, 5_000)
_OF_RUN: Final = Budgets(MAX_READ_RUNS, MAX_READ_ROWS)
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
    return RankedGroups(*await list_statement(filter_, budgets).fetch_row(connection, values))


async def find_one(
    connection: Connection, org_id: OrgId, fingerprint: Fingerprint, project_id: str | None
) -> str | None:
    """Return one group as JSON, or None if the organization, or the given project, has no such failure."""
    values = {"org_id": org_id, "fingerprint": fingerprint, "project_id": project_id}
    text: str | None = await one_statement().fetch_value(connection, values)
    return text


async def find_project(
    connection: Connection, org_id: OrgId, fingerprint: Fingerprint, project_id: str | None
) -> str | None:
    """Return the project of a group, or None if the organization, or the given project, has no such failure."""
    values = {"org_id": org_id, "fingerprint": fingerprint, "project_id": project_id}
    found: str | None = await compose("failure_project").fetch_value(connection, values)
    return found


def list_statement(filter_: ResultFilter, budgets: Budgets | None = None) -> Statement:
    """Return the statement for the list."""
    runs = "project" if filter_.branch is None else "branch"
    runs = "run" if filter_.run_id is not None else runs
    budgets = budgets or (_OF_PROJECT if filter_.run_id is None else _OF_RUN)
    return compose(
        "ranked_failure_groups",
        failing_runs=f"failing_runs_of_{runs}",
        run_budget=budgets.runs,
        row_budget=budgets.rows,
    )


def one_statement() -> Statement:
    """Return the statement for one group."""
    return compose("one_failure_group", row_budget=_OF_PROJECT.rows, minute_budget=_MINUTES)
