"""Queries for runs: a page of the list, and one run."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId, RunKey
from service.domain.rows import FilterSuggestions, PartRow, PullRequestSuggestion, RunDetailRow, RunRow
from service.domain.statuses import Counts
from service.store.organizations import find_slugs
from service.store.postgres.composition import RUN_BUDGET, compose
from service.store.postgres.database import Connection, Row
from service.store.postgres.requested_rows import fetch_requested
from service.store.queries.candidate_runs import find_commits, find_runs
from service.store.queries.filter_values import filter_values
from service.store.queries.pages import RowPage, cut_page

# Of the fragment `run_fields`, which lacks `organization_id`.
_FIRST_COUNT: Final = RunRow._fields.index("counts") - 1
_AFTER_COUNTS: Final = _FIRST_COUNT + len(Counts._fields)
RUN_COLUMNS: Final = len(RunRow._fields) - 2 + len(Counts._fields)


class RunSelector(NamedTuple):
    """A run_id and, for a key that is bound to a project, the project that the run must belong to."""

    run_id: str
    project_id: str | None


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: RunFilter,
    after: RunKey | None,
    limit: int,
    budget: int = RUN_BUDGET,
) -> RowPage[RunRow, RunKey]:
    """Return the next runs, newest first. A page has fewer than `limit` if it is large or if the budget ends before
    the list does."""
    slugs = await find_slugs(connection, [org_id])  # has it if there are runs, because an organization is deleted last
    commits = await find_commits(connection, org_id, filter_)
    position = None if after is None else Position.after_run(after)
    values = filter_values(org_id, filter_, position) | {"commits": commits}
    found = await find_runs(connection, filter_, values, limit + 1, budget)
    rows = [run_row(row, slugs[org_id]) for row in found.rows]
    return cut_page(rows, limit, found.edge, lambda run: run.run_key)


async def suggest_filters(
    connection: Connection, org_id: OrgId, project_id: str | None, limit: int
) -> FilterSuggestions:
    """Return at most `limit` values of each filter, of the newest runs of a project or of the organization."""
    name = "filter_suggestions_of_organization" if project_id is None else "filter_suggestions_of_project"
    values = {"org_id": org_id, "project_id": project_id, "suggestions": limit}
    rows = await compose(name).fetch_rows(connection, values)
    return FilterSuggestions(
        [author for author, _, _ in rows if author is not None],
        [PullRequestSuggestion(number, title) for _, number, title in rows if number is not None],
    )


async def find_one(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> RunDetailRow | None:
    """Return one run with its parts, or None if the organization, or the given project, doesn't have it."""
    values = {"org_id": org_id, "run_id": run_id, "project_id": project_id}
    rows = await compose("one_run").fetch_rows(connection, values)
    return _detail(rows[0]) if rows else None


def _detail(row: Row) -> RunDetailRow:
    return RunDetailRow(run_row(row, row["organization_id"]), list(map(PartRow._make, row["parts"] or ())))


def run_row(row: Row | Sequence[Any], organization_id: str) -> RunRow:
    """Return the run whose columns, those of the fragment `run_fields`, are the first ones of a row."""
    counts = Counts(*row[_FIRST_COUNT:_AFTER_COUNTS])
    return RunRow._make((row[0], organization_id, *row[1:_FIRST_COUNT], counts, *row[_AFTER_COUNTS:RUN_COLUMNS]))


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
