"""Failure groups: the ranked groups of runs or of a range, one group, and its ticket."""

from collections.abc import Collection, Sequence
from typing import Any, Final

import orjson

from service.database.database import Connection, Row
from service.database.pages import filter_values
from service.database.statements import MAX_READ_FAILURES, MAX_READ_ROWS, MAX_READ_RUNS, compose, statements
from service.domain.errors import Unavailable
from service.domain.filters import ResultFilter
from service.domain.ids import Fingerprint, OrgId, fingerprint_id
from service.failures.model import (
    FailureGroupDetailRow,
    FailureGroupRow,
    GroupState,
    OpenGroup,
    RankedGroups,
)
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
            return FailureGroupDetailRow(
                _group(rows[0]), *(rows[0][name] for name in FailureGroupDetailRow._fields[1:])
            )
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


async def lock_project(connection: Connection, org_id: OrgId, project_id: str) -> tuple[str, bool] | None:
    """Return the default branch of a project, and whether its failure groups aren't recorded yet.

    Returns None if the project doesn't exist or is being deleted. Requires the role results_worker, like the following.
    """
    row = await connection.fetchrow(_SQL["lock_project"], org_id, project_id)
    return (row["default_branch"], row["is_first"]) if row else None


async def set_recorded(connection: Connection, org_id: OrgId, project_id: str, branch: str) -> None:
    """State that the failure groups of this branch are recorded."""
    await connection.execute(_SQL["set_recorded"], org_id, project_id, branch)


async def find_open_groups(
    connection: Connection, org_id: OrgId, run_keys: Sequence[str], changed: Collection[str]
) -> list[OpenGroup]:
    """Return the groups that fail in these runs of an environment, newest first. `changed` are those of an update."""
    rows = await connection.fetch(_SQL["find_open_groups"], org_id, run_keys, list(changed))
    return [OpenGroup(*row) for row in rows]


async def find_states(
    connection: Connection, org_id: OrgId, project_id: str, fingerprints: Collection[Fingerprint]
) -> dict[Fingerprint, GroupState]:
    """Return the states of the open groups of a project, and of these groups. The role results_api suffices."""
    rows = await connection.fetch(_SQL["find_states"], org_id, project_id, list(fingerprints))
    return {row["fingerprint"]: GroupState(*row) for row in rows}


async def store_states(connection: Connection, org_id: OrgId, project_id: str, states: Sequence[GroupState]) -> None:
    """Store the states of groups of a project."""
    rows = [state._replace(environments=orjson.dumps(state.environments).decode()) for state in states]
    await connection.execute(_SQL["store_states"], org_id, project_id, *map(list, zip(*rows, strict=True)))


async def delete_states(connection: Connection, org_id: OrgId, project_id: str) -> None:
    """Delete the states of the groups of a project."""
    await connection.execute(_SQL["delete_states"], org_id, project_id)


async def find_objects(
    connection: Connection,
    org_id: OrgId,
    place: tuple[str, str],
    fingerprints: Sequence[Fingerprint],
    link_base: str,
    max_cases: int,
) -> dict[Fingerprint, tuple[list[str], dict[str, Any]]]:
    """Return the owners and the objects of events of stored groups. `place` is a project with its default branch."""
    ids = list(map(fingerprint_id, fingerprints))
    rows = await connection.fetch(_SQL["group_objects"], org_id, *place, fingerprints, ids, link_base, max_cases)
    return {row["fingerprint"]: (row["owners"], orjson.loads(row["object"])) for row in rows}


def _group(row: Row) -> FailureGroupRow:
    return FailureGroupRow(*row[:_FIELDS])
