"""Queries for runs: a page of the list and one run, as JSON that PostgreSQL writes."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId, RunKey
from service.store.postgres import composition
from service.store.postgres.composition import RUN_BUDGET, Statement, compose
from service.store.postgres.database import Connection
from service.store.postgres.requested_rows import fetch_requested
from service.store.queries.candidate_runs import candidate_runs, find_commits
from service.store.queries.filter_values import filter_values


class RunSelector(NamedTuple):
    """A run_id and, for a key that is bound to a project, the project that the run must belong to."""

    run_id: str
    project_id: str | None


class RunPage(NamedTuple):
    """`data` is a JSON array. `next` is the last run examined, or None at the end of the list."""

    data: str
    next: RunKey | None


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: RunFilter,
    after: RunKey | None,
    limit: int,
    budget: int = RUN_BUDGET,
) -> RunPage:
    """Return the next runs, newest first. A page has fewer than `limit` if it is large or if the budget ends before
    the list does."""
    commits = await find_commits(connection, org_id, filter_)
    by_commit = commits is not None
    position = None if after is None else Position.after_run(after)
    values = filter_values(org_id, filter_, position) | {"page": limit, "commits": commits}
    row = await page_statement(filter_, budget, by_commit=by_commit).fetch_row(connection, values)
    if row["data"] is None:
        large = page_statement(filter_, budget, by_commit=by_commit, is_large=True)
        row = await large.fetch_row(connection, values)
    return RunPage(row["data"], row["run_key"])


async def find_one(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> str | None:
    """Return one run as JSON, or None if the organization, or the given project, doesn't have it."""
    statement = compose("one_run")
    values = {"org_id": org_id, "run_id": run_id, "project_id": project_id}
    text: str | None = await statement.fetch_value(connection, values)
    return text


async def find_shards(connection: Connection, org_id: OrgId, key: RunKey) -> list[int]:
    """Return the numbers of the shards of a run that have arrived, in ascending order."""
    shards: list[int] = await compose("shards_of_run").fetch_value(connection, {"org_id": org_id, "run_key": key})
    return sorted(shards or [])


async def find_complete(
    connection: Connection, selectors: Sequence[tuple[OrgId, RunSelector]]
) -> set[tuple[OrgId, RunSelector]]:
    """Return the selectors, each with its organization, whose runs are complete."""
    requested = [(org_id, *selector) for org_id, selector in selectors]
    rows = await fetch_requested(connection, "complete_runs", requested, ["run_ids", "project_ids"])
    return {(OrgId(row["org_id"]), RunSelector(row["run_id"], row["project_id"])) for row in rows}


def page_statement(
    filter_: RunFilter, budget: int = RUN_BUDGET, *, by_commit: bool = False, is_large: bool = False
) -> Statement:
    """Return the statement for a filter. With `by_commit`, the commits are known that begin with its digits.

    With `is_large`, the statement reads a large page.
    """
    return compose(
        "large_page_of_runs" if is_large else "page_of_runs",
        run_budget=budget,
        page_bytes=composition.MAX_PAGE_BYTES,
        **candidate_runs(filter_, by_commit=by_commit),
    )
