"""Reads runs: a page of the list, or one."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId, RunKey
from service.store.postgres.composition import RUN_BUDGET, Statement, compose
from service.store.postgres.database import Connection
from service.store.queries.filter_values import filter_values


class RunSelector(NamedTuple):
    """A run that someone waits for; with a project, it must belong to that one."""

    run_id: str
    project_id: str | None


class RunPage(NamedTuple):
    """`data` is a JSON array; `next` is the last run examined, None at the end of the list."""

    data: str
    next: RunKey | None


async def list_page(
    connection: Connection,
    org_id: OrgId,
    wanted: RunFilter,
    after: RunKey | None,
    limit: int,
    budget: int = RUN_BUDGET,
) -> RunPage:
    """The next runs of the list, newest first; fewer than `limit` where the budget ends before the list does."""
    statement = page_statement(wanted, budget)
    position = None if after is None else Position.after_run(after)
    values = filter_values(org_id, wanted, position) | {"page": limit}
    row = await statement.fetch_row(connection, values)
    return RunPage(row["data"], row["run_key"])


async def find_one(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> str | None:
    """One run as JSON; None where there is none in the organization, or in the project if one is given."""
    statement = compose("one_run")
    values = {"org_id": org_id, "run_id": run_id, "project_id": project_id}
    text: str | None = await statement.fetch_value(connection, values)
    return text


async def find_complete(connection: Connection, org_id: OrgId, wanted: Sequence[RunSelector]) -> set[RunSelector]:
    """Those among these runs that are there and complete."""
    values = {
        "org_id": org_id, "run_ids": [run.run_id for run in wanted], "project_ids": [run.project_id for run in wanted],
    }  # fmt: skip
    places: list[int] = await compose("complete_runs").fetch_value(connection, values)
    return {wanted[place] for place in places}


def page_statement(wanted: RunFilter, budget: int = RUN_BUDGET) -> Statement:
    """The statement for a filter: the index on runs that leaves the fewest candidates drives it."""
    return compose("page_of_runs", driver=_driver(wanted), run_budget=budget)


def _driver(wanted: RunFilter) -> str:
    if wanted.project_id is not None:
        return "driver_project" if wanted.branch is None else "driver_project_and_branch"
    if wanted.branch is not None:
        return "driver_branch"
    return "driver_environment" if wanted.environment is not None else "driver_nothing"
