"""Failure groups: the ranked groups of runs or of a range, one group, and its ticket."""

from typing import Any, Final

from service.database.database import Connection, Row
from service.database.pages import filter_values
from service.database.statements import MAX_READ_FAILURES, MAX_READ_ROWS, MAX_READ_RUNS, compose, statements
from service.domain.errors import Unavailable
from service.domain.filters import ResultFilter
from service.domain.ids import Fingerprint, OrgId
from service.failures.model import FailureGroupDetailRow, FailureGroupRow, RankedGroups
from service.results.queries import Budgets

_SQL: Final = statements("failures")

_OF_PROJECT: Final = Budgets(MAX_READ_RUNS, MAX_READ_FAILURES)
_OF_RUN: Final = Budgets(MAX_READ_RUNS, MAX_READ_ROWS)
_ATTEMPTS: Final = 3
_FIELDS: Final = len(FailureGroupRow._fields)


async def set_ticket(connection: Connection, org_id: OrgId, fingerprint: Fingerprint, ticket_url: str | None) -> None:
    """Set the ticket of a group, or delete it if the URL is None."""
    if ticket_url is None:
        await connection.execute(_SQL["delete"], org_id, fingerprint)
    else:
        await connection.execute(_SQL["set"], org_id, fingerprint, ticket_url)


async def list_groups(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, limit: int, budgets: Budgets | None = None
) -> RankedGroups:
    """Return the failure groups of a run, or of the newest runs of a project, those with most results first."""
    values = filter_values(org_id, filter_, None) | {"page": limit}
    if filter_.run_id is not None:
        run_key = await compose("key_of_run").fetch_value(connection, values)
        if run_key is None:
            return RankedGroups((), truncated=False)
        values["first_key"] = max(values["first_key"], run_key)
        values["before_run"] = min(values["before_run"], run_key)
    values |= group_values(filter_, values, budgets or (_OF_PROJECT if filter_.run_id is None else _OF_RUN))
    rows = await compose(statement_name(filter_)).fetch_rows(connection, values)
    return RankedGroups([_group(row) for row in rows if row["fingerprint"] is not None], rows[0]["truncated"])


def statement_name(filter_: ResultFilter) -> str:
    """Return the name of the statement that lists groups, by the index that yields their runs."""
    if filter_.run_id is not None:
        return "failure_groups_of_run"
    return "failure_groups_of_project" if filter_.branch is None else "failure_groups_of_branch"


def group_values(filter_: ResultFilter, values: dict[str, Any], budgets: Budgets) -> dict[str, Any]:
    """Return the further parameters of a list of groups.

    If all failures of the project are read, only those after the range can be newer than the listed ones.
    """
    lists_all = filter_.run_id is None and filter_.branch is None
    newest_from = values["before_run" if lists_all else "first_key"]
    return {"run_budget": budgets.runs, "row_budget": budgets.rows, "newest_from": newest_from}


async def find_one(
    connection: Connection, org_id: OrgId, fingerprint: Fingerprint, project_id: str | None
) -> FailureGroupDetailRow | None:
    """Return one group, or None if the organization, or the given project, has no such failure.

    Reads the group again if its first or last run was deleted since its range was read. Raises Unavailable if
    this occurs several times.
    """
    for _ in range(_ATTEMPTS):
        bounds = await _find_range(connection, org_id, fingerprint, project_id)
        if bounds is None:
            return None
        values = {"org_id": org_id, "fingerprint": fingerprint, **bounds}
        rows = await compose("one_failure_group").fetch_rows(connection, values)
        if rows:
            return FailureGroupDetailRow(_group(rows[0]), rows[0]["truncated"])
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
    values = filter_values(org_id, filter_, None)
    rows = await compose("failure_group_range").fetch_rows(connection, values | {"newest_from": values["first_key"]})
    return rows[0] if rows else None


def _group(row: Row) -> FailureGroupRow:
    return FailureGroupRow(*row[:_FIELDS])
