"""Queries for statistics about runs, as JSON that PostgreSQL writes."""

from datetime import datetime, timedelta
from typing import NamedTuple

from service.domain.filters import RunFilter
from service.domain.ids import OrgId, RunKey, completed_ms
from service.domain.stats import LENGTHS_MS, MAX_GROUPS, MAX_RUNS, Grouping, Interval
from service.domain.timestamps import from_ms
from service.store.postgres.composition import Statement, compose
from service.store.postgres.database import Connection
from service.store.queries.filter_values import filter_values


class StatsPage(NamedTuple):
    """`data` is a JSON array of buckets.

    `read_from` is the completion time of the oldest run that was read if the range has older runs. It is None if all
    runs were read.
    """

    data: str
    read_from: datetime | None


async def find(
    connection: Connection,
    org_id: OrgId,
    filter_: RunFilter,
    interval: Interval,
    group_by: Grouping | None,
    max_runs: int = MAX_RUNS,
) -> StatsPage:
    """Return the buckets with runs in the order of their time and group. Reads the newest `max_runs` runs."""
    values = filter_values(org_id, filter_, None) | {"length": timedelta(milliseconds=LENGTHS_MS[interval])}
    row = await statement(filter_, group_by, max_runs).fetch_row(connection, values)
    last_runs: list[RunKey] = row["last_runs"]
    read_from = from_ms(completed_ms(last_runs[0])) if len(last_runs) > 1 else None
    return StatsPage(f"[{row['items']}]", read_from)  # in SQL, each concatenation would copy up to 2 MB


def statement(filter_: RunFilter, group_by: Grouping | None, max_runs: int = MAX_RUNS) -> Statement:
    """Return the statement for a filter and a grouping."""
    grouping = {"grouped_runs": "runs_of_groups", "grouping": f"grouping_{group_by}"}
    return compose(
        "stats",
        max_runs=max_runs,
        run_budget=max_runs,
        max_groups=MAX_GROUPS,
        **(grouping if group_by else {"grouped_runs": "ungrouped_runs"}),
        driver="driver_any" if filter_.project_id is None else "driver_project",
    )
