"""Expired months and rows: find, mark, count, and delete them. Months and key ranges are in UTC."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from service.domain.ids import Fingerprint, OrgId, RunKey, completion_minute
from service.domain.retention import RetentionClass
from service.store import file_deletions
from service.store.partitions import key_range
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("retention")
_FIRST_MONTH: Final = date(1970, 1, 1)  # date.min would be -infinity in PostgreSQL
_DELETIONS: Final[Mapping[RetentionClass, Sequence[str]]] = {
    "results": ("delete_results", "delete_details", "delete_shard_results"),
    "runs": ("delete_runs",),
}


class ObservedMonth(NamedTuple):
    """A month past the retention, with the observed time since it was noticed."""

    month: date
    waited: timedelta
    is_new: bool


class RunRange(NamedTuple):
    """The runs of an organization between two keys, without the keys themselves. It is inside one month."""

    org_id: OrgId
    after: RunKey
    before: RunKey


class GroupMinute(NamedTuple):
    """A minute of a failure group, which defines the order of the minutes of an organization."""

    fingerprint: Fingerprint
    minute: int


MinuteRange = tuple[int, int]  # half-open: excludes the second minute

BEFORE_ALL_MINUTES: Final = GroupMinute(Fingerprint(-(2**63)), -1)


class ProjectSize(NamedTuple):
    """The number and the bytes of the rows of a project, with the bytes of their files."""

    project_id: str
    rows: int
    bytes: int


async def list_partition_months(connection: Connection, first: date, before: date) -> list[date]:
    """Return the months in this range that have a partition, oldest first."""
    return [row["month"] for row in await connection.fetch(_SQL["list_partition_months"], first, before)]


async def find_dropped_minutes(connection: Connection, before: date) -> list[MinuteRange]:
    """Return the ranges of minutes before this month whose months have no partition."""
    months = await list_partition_months(connection, _FIRST_MONTH, before)
    bounds = [completion_minute(key) for month in months for key in key_range(month)]
    bounds = [0, *bounds, completion_minute(key_range(before)[0])]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


async def delete_minutes(
    connection: Connection, org_id: OrgId, ranges: Sequence[MinuteRange], after: GroupMinute, limit: int
) -> GroupMinute | None:
    """Delete the rows in these ranges among the next `limit` minutes of failure groups.

    Return the last examined minute, or None at the end.
    """
    row = await connection.fetchrow(_SQL["delete_minutes"], org_id, ranges, *after, limit)
    return GroupMinute(*row) if row else None


async def list_run_months(connection: Connection, org_id: OrgId, before: date) -> set[date]:
    """Return the months before this month in which the organization has a run that isn't pinned."""
    return {row["month"] for row in await connection.fetch(_SQL["list_run_months"], org_id, before)}


async def observe_months(
    owner: Connection, class_: RetentionClass, months: Sequence[date], max_step: timedelta
) -> list[ObservedMonth]:
    """Record that these months of the class are expired, and return them, oldest first.

    Each observation adds the time since the previous one, at most `max_step`, so that a clock that jumps doesn't end
    the grace period of a month.
    """
    rows = await owner.fetch(_SQL["observe_months"], class_, months, max_step)
    return sorted(ObservedMonth(*row) for row in rows)


async def expire_runs(connection: Connection, range_: RunRange, limit: int) -> RunKey | None:
    """Set `results_expired` of at most `limit` runs that aren't pinned; return the last examined key, or None."""
    reached: RunKey | None = await connection.fetchval(_SQL["expire_runs"], *range_, limit)
    return reached


async def find_ranges(connection: Connection, class_: RetentionClass, month_range: RunRange) -> list[RunRange]:
    """Return the ranges between the pinned runs of a month. A run without results can keep only itself."""
    keys = await connection.fetch(_SQL["find_pinned"], *month_range, class_ == "runs")
    bounds = [month_range.after, *(RunKey(row["run_key"]) for row in keys), month_range.before]
    return [RunRange(month_range.org_id, low, high) for low, high in pairwise(bounds)]


async def delete_rows(connection: Connection, class_: RetentionClass, range_: RunRange, limit: int) -> int:
    """Delete at most `limit` rows of each table of the class in one transaction; return their number."""
    async with connection.transaction():
        if class_ == "artifacts":
            return await _delete_artifacts(connection, range_, limit)
        return sum([await connection.fetchval(_SQL[name], *range_, limit) for name in _DELETIONS[class_]])


async def _delete_artifacts(connection: Connection, range_: RunRange, limit: int) -> int:
    """Delete artifacts, and queue the deletion of their files, which can be on another server than the artifacts."""
    rows = await connection.fetch(_SQL["delete_artifacts"], *range_, limit)
    if paths := sorted({row["path"] for row in rows} - {None}):
        await file_deletions.queue(connection, range_.org_id, paths)
    return len(rows)


async def count_rows(
    connection: Connection, class_: RetentionClass, range_: RunRange, limit: int
) -> tuple[list[ProjectSize], RunKey | None]:
    """Return the size of the next `limit` runs by project, and the last examined key, or None at the end."""
    rows = await connection.fetch(_SQL[f"count_{class_}"], *range_, limit)
    sizes = [ProjectSize(row["project_id"], row["rows"], row["bytes"] or 0) for row in rows]
    return sizes, RunKey(rows[0]["reached"]) if rows else None


def month_range(org_id: OrgId, month: date) -> RunRange:
    """Return the range of all runs of an organization in a month."""
    return RunRange(org_id, *key_range(month))
