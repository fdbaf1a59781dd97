"""Queries for statistics about runs."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from service.database.database import Connection, Row
from service.database.pages import filter_values
from service.database.statements import compose
from service.domain.filters import RunFilter
from service.domain.ids import OrgId, completed_ms
from service.domain.statuses import Counts
from service.stats.model import LENGTHS_MS, MAX_RUNS, Interval, RunGrouping, StatsBucketRow


class StatsPage(NamedTuple):
    """The buckets with runs in the order of their time and group.

    `read_from_ms` is the completion time of the oldest run that was read if the range has older runs. It is None if all
    runs were read.
    """

    buckets: Sequence[StatsBucketRow]
    read_from_ms: int | None


async def find(
    connection: Connection,
    org_id: OrgId,
    filter_: RunFilter,
    interval: Interval,
    group_by: RunGrouping | None,
    max_runs: int = MAX_RUNS,
) -> StatsPage:
    """Return the statistics of the newest `max_runs` runs."""
    values = filter_values(org_id, filter_, None) | stats_values(interval, group_by, max_runs)
    rows = await compose(statement_name(filter_, group_by)).fetch_rows(connection, values)
    oldest_run = rows[0]["oldest_run"] if rows else None
    return StatsPage(list(map(_bucket, rows)), None if oldest_run is None else completed_ms(oldest_run))


def statement_name(filter_: RunFilter, group_by: RunGrouping | None) -> str:
    """Return the name of the statement, by the index that yields the runs, and by whether they are grouped."""
    name = "stats_of_organization" if filter_.project_id is None else "stats_of_project"
    return name if group_by is None else f"grouped_{name}"


def stats_values(interval: Interval, group_by: RunGrouping | None, max_runs: int = MAX_RUNS) -> dict[str, Any]:
    """Return the parameters of statistics."""
    length = timedelta(milliseconds=LENGTHS_MS[interval])
    return {"length": length, "group_by": group_by, "max_runs": max_runs}


def _bucket(row: Row) -> StatsBucketRow:
    start_ms, name, runs, failed_runs, counts, pass_rate, p50_ms, p95_ms, _ = row
    return StatsBucketRow(start_ms, name, runs, failed_runs, Counts(*counts), pass_rate, p50_ms, p95_ms)
