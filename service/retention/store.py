"""Rows to delete: expired months and rows, runs, projects, and hidden cases. Months and key ranges are in UTC."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

from service.database.database import Connection
from service.database.partitions import key_range
from service.database.statements import statements
from service.domain.ids import Fingerprint, OrgId, RunKey, completion_minute, first_id
from service.projects.store import ProjectRef
from service.retention import file_deletions
from service.retention.model import RetentionClass
from service.runs.store import RunRef

_SQL: Final = statements("retention")
_FIRST_MONTH: Final = date(1970, 1, 1)  # date.min would be -infinity in PostgreSQL
_DELETIONS: Final[Mapping[RetentionClass, Sequence[str]]] = {
    "results": ("delete_results", "delete_details", "delete_shard_results"),
    "runs": ("delete_runs",),
}

MinuteRange = tuple[int, int]  # half-open: excludes the second minute
UPLOADS_END_AFTER: Final = timedelta(hours=1)  # those that were in progress when their run was deleted


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


class ExpiredRuns(NamedTuple):
    """The last examined run, or None, and whether one of the examined runs expired."""

    reached: RunKey | None = None
    has_expired: bool = False


async def expire_runs(connection: Connection, range_: RunRange, limit: int) -> ExpiredRuns:
    """Set `results_expired` of at most `limit` runs that aren't pinned."""
    row = await connection.fetchrow(_SQL["expire_runs"], *range_, limit)
    return ExpiredRuns(*row) if row else ExpiredRuns()


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


async def read_clock(connection: Connection) -> datetime:
    """Return the current time of the database server. In a transaction, this is also the current time."""
    time: datetime = await connection.fetchval(_SQL["read_clock"])
    return time


async def terminate_stuck_writers(connection: Connection, copying: timedelta, prepared: timedelta) -> int:
    """Terminate connections of consumers that have been suspended in a transaction; return their number.

    `copying` is the least time in a COPY, and `prepared` the least time before the execution of a prepared statement.
    """
    async with connection.transaction(readonly=True):  # on Citus, the login role can't mark the commit of a write
        await connection.execute("SET LOCAL ROLE NONE")  # only the login role can terminate its own connections
        return int(await connection.fetchval(_SQL["terminate_stuck_writers"], copying, prepared))


async def delete_receipts(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` receipts that were received before this time; return their number."""
    oldest_retained = first_id("rcp", int(before.timestamp() * 1000))
    return int(await connection.fetchval(_SQL["delete_receipts"], oldest_retained, before, limit))


async def find_position(connection: Connection, area: str) -> str:
    """Return the last file of an area of the storage that was compared with the rows, or an empty string."""
    return await connection.fetchval(_SQL["find_position"], area) or ""


async def set_position(connection: Connection, area: str, after_path: str) -> None:
    """Store the position. Of several processes that compare files of an area, the last one decides."""
    await connection.execute(_SQL["set_position"], area, after_path)


async def find_expired(connection: Connection, before: datetime, limit: int) -> list[RunRef]:
    """Return untrusted runs of all organizations that were stored before this time, the oldest first."""
    rows = await connection.fetch(_SQL["find_expired"], before, limit)
    return [(OrgId(row["org_id"]), row["run_id"]) for row in rows]


async def lock(connection: Connection, ref: RunRef) -> bool:
    """Lock an untrusted run. Return False if it was promoted or deleted, or if another transaction changes it."""
    return await connection.fetchval(_SQL["lock"], *ref) is not None


async def delete_hidden_cases(
    connection: Connection, org_id: OrgId, now: datetime, limit: int, runs_before: datetime
) -> int:
    """Delete at most `limit` hidden cases that have expired, and return their number.

    All of them stay as long as the organization has untrusted runs that were stored before `runs_before`.
    """
    return int(await connection.fetchval(_SQL["delete_cases"], org_id, now, limit, runs_before))


class DeletedRun(NamedTuple):
    """The project of a deleted run. Only readers of events who knew the run learn that it's gone: if it was trusted."""

    project_id: str
    trusted: bool
    key: RunKey
    results_expired: bool


async def delete_run(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, kept_files: Sequence[str] = ()
) -> DeletedRun | None:
    """Delete the rows, and queue the deletion of their files, except `kept_files`.

    Return None if the run doesn't exist.
    """
    row = await connection.fetchrow(_SQL["delete_run"], org_id, run_id, project_id)
    if row is None:
        return None
    key = RunKey(row["run_key"])
    await connection.execute(_SQL["delete_results_of_run"], org_id, key)
    await connection.execute(_SQL["delete_details_of_run"], org_id, key)
    await connection.execute(_SQL["delete_shard_results_of_run"], org_id, key)
    await connection.execute(_SQL["delete_parts"], org_id, key)
    await connection.execute(_SQL["expire_exports"], org_id, key, run_id)
    await connection.execute(_SQL["delete_artifacts_of_run"], org_id, key, kept_files)
    await connection.execute(_SQL["queue_folder"], org_id, key, UPLOADS_END_AFTER)
    return DeletedRun(row["project_id"], row["trusted"], key, row["results_expired"])


async def find_requested(connection: Connection, limit: int) -> list[ProjectRef]:
    """Return the projects whose deletion was requested, those of the oldest requests first."""
    rows = await connection.fetch(_SQL["find_requested"], limit)
    return [(OrgId(row["org_id"]), row["project_id"]) for row in rows]


async def find_runs(connection: Connection, ref: ProjectRef, limit: int) -> list[str]:
    """Return the IDs of runs of the project, oldest first."""
    return [row["run_id"] for row in await connection.fetch(_SQL["find_runs"], *ref, limit)]


async def delete_cases(connection: Connection, ref: ProjectRef, limit: int) -> int:
    """Delete cases of a project that has no runs, and return their number."""
    return int(await connection.fetchval(_SQL["delete_cases_of_project"], *ref, limit))


async def delete_quarantines(connection: Connection, ref: ProjectRef, limit: int) -> int:
    """Delete quarantines of the project, and return their number."""
    return int(await connection.fetchval(_SQL["delete_quarantines"], *ref, limit))


async def delete_project(connection: Connection, ref: ProjectRef) -> bool:
    """Delete a project that has no runs. Return False if it was deleted already, or has runs. Requires a transaction.

    A process that knows cases of the organization reads them again before it stores runs of a new project.
    """
    if await connection.fetchval(_SQL["delete_project"], *ref) is None:
        return False
    await connection.execute(_SQL["count_deletion"], ref[0])
    return True
