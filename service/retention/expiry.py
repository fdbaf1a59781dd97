"""Removal of expired data, by class and month: artifacts, results with their details and artifacts, and runs.

A month without pinned runs is removed by dropping the partitions of its results. Otherwise, the rows between the pinned
runs are deleted in steps. After their results are removed, runs keep their counts, and `results_expired` becomes true.
"""

import asyncio
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from service.database import partitions
from service.database.database import Connection, Pool, as_owner, pool_engine
from service.domain.errors import Unavailable
from service.domain.ids import OrgId, RunKey
from service.log import log
from service.organizations import store as organizations_store
from service.retention import store
from service.retention.model import (
    REMOVED_CLASSES,
    RETENTION_CLASSES,
    RetentionClass,
    RetentionPolicy,
    first_retained_month,
)
from service.retention.store import ProjectSize, RunRange
from service.states import store as states_store
from service.storage import Storage

_FIRST_MONTH: Final = date(1970, 1, 1)
_BEFORE_ALL_MONTHS: Final = date.min
_MAX_DIFFERENCE: Final = timedelta(minutes=5)
_MAX_OBSERVED: Final = timedelta(hours=2)  # between two calls; more than this is a jump of the clock, or downtime
_MAX_RUNS: Final = 1_000  # per transaction
_MAX_COUNTED_RUNS: Final = 500  # counted per statement
_MAX_ROWS: Final = 5_000  # deleted per transaction
_MAX_ARTIFACTS: Final = 5_000  # examined per query; few of them can be stored files
_CONCURRENT_DELETIONS: Final = 50


class ClocksDiffer(Unavailable):
    """The clocks of the database and of this process differ, so it's unknown which rows are expired."""


class RemovedMonth(NamedTuple):
    """A month of a class of which a call has removed data."""

    data: RetentionClass
    month: date


class ExpiredRows(NamedTuple):
    """The rows of a class in a key range."""

    class_: RetentionClass
    range: RunRange


class ExpiredMonth(NamedTuple):
    """The expired rows of a month, and whether the month contains no retained row."""

    rows: list[ExpiredRows]
    is_complete: bool


class ExpiredSize(NamedTuple):
    """The expired data of one class in one project. `bytes` includes the files of artifacts."""

    data: RetentionClass
    organization: str
    project_id: str
    rows: int
    bytes: int


async def apply_retention(
    pool: Pool, storage: Storage, database_url: str, policy: RetentionPolicy
) -> list[RemovedMonth]:
    """Remove the oldest expired month of each class, after a grace period, and return the removed months.

    A call removes at most one month of a class, and only if earlier calls observed it as expired for the grace period,
    so that an operator can correct a wrong period or clock. Uses the clock of the database. Raises ClocksDiffer.

    The next call continues after an interruption at any point. A lock ensures that only one process removes data.
    """
    async with as_owner(database_url, pool_engine(pool)) as owner:
        if not await partitions.try_lock_dropping(owner):
            return []
        await _drop(owner, _BEFORE_ALL_MONTHS)  # only continues interrupted removals
        now = await read_verified_clock(owner)
        removed: list[RemovedMonth] = []
        for class_ in RETENTION_CLASSES:
            months = await list_expired_months(owner, policy, class_, now)
            for month in await _observe(owner, class_, months, policy.grace):
                if await _remove(pool, storage, owner, class_, month):
                    log.info("month_expired", data=class_, month=f"{month:%Y-%m}")
                    removed.append(RemovedMonth(class_, month))
                    break
        return removed


async def _observe(owner: Connection, class_: RetentionClass, months: list[date], grace: timedelta) -> list[date]:
    """Return the months whose grace period is over, oldest first. Log the months whose grace period begins."""
    observed = await store.observe_months(owner, class_, months, _MAX_OBSERVED)
    for each in observed:
        if each.is_new:
            log.warning("month_expires_soon", data=class_, month=f"{each.month:%Y-%m}", grace_days=grace.days)
    return [each.month for each in observed if each.waited >= grace]


async def _remove(pool: Pool, storage: Storage, owner: Connection, class_: RetentionClass, month: date) -> bool:
    """Remove a month, and return False if it contains only retained rows.

    The order allows an interruption at any point: first the runs are marked, so that a run that is pinned later isn't
    retained; then the files are deleted while rows still reference them; and then the partitions are dropped.
    """
    if class_ != "artifacts":
        await _mark_runs(pool, month)
    async with pool.acquire() as connection:
        expired = await find_expired_rows(connection, class_, month)
    if class_ != "results" or not expired.is_complete:
        return sum([await _delete_rows(pool, rows) for rows in expired.rows]) > 0
    await _delete_files(pool, storage, month)
    await _drop(owner, month)
    return True


async def _mark_runs(pool: Pool, month: date) -> None:
    """Mark the runs of a month as expired. The states of cases then follow from the other runs."""
    async with pool.acquire() as connection:
        for organization in await organizations_store.list_all(connection):
            range_ = store.month_range(OrgId(organization["org_id"]), month)
            reached: RunKey | None = range_.after
            while reached is not None:
                range_ = range_._replace(after=reached)
                async with connection.transaction():
                    reached, has_expired = await store.expire_runs(connection, range_, _MAX_RUNS)
                    if has_expired:
                        await states_store.request_comparison(connection, range_.org_id)


async def _delete_rows(pool: Pool, rows: ExpiredRows) -> int:
    """Delete the rows in steps, each in its own transaction, and return their number."""
    deleted = 0
    while True:
        async with pool.acquire() as connection:
            count = await store.delete_rows(connection, rows.class_, rows.range, _MAX_ROWS)
        if not count:
            return deleted
        deleted += count


async def _delete_files(pool: Pool, storage: Storage, month: date) -> None:
    after: partitions.ArtifactKey | None = partitions.FIRST_ARTIFACT_KEY
    while after is not None:
        async with pool.acquire() as connection:
            paths, after = await partitions.find_files(connection, month, after, _MAX_ARTIFACTS)
        while paths:
            chunk = [paths.pop() for _ in range(min(len(paths), _CONCURRENT_DELETIONS))]
            await asyncio.gather(*map(storage.delete, chunk))


async def _drop(owner: Connection, month: date) -> None:
    while statement := await partitions.run_next_drop_step(owner, month):
        log.info("partition_step_executed", statement=statement)


async def list_expired_months(
    connection: Connection, policy: RetentionPolicy, class_: RetentionClass, now: datetime
) -> list[date]:
    """Return the expired months of a class, oldest first. Artifacts expire with their results."""
    period = policy.period_of(class_)
    if period is None:
        return []
    before = first_retained_month(now, period)
    if class_ == "runs":
        return await _list_run_months(connection, before)
    first = first_retained_month(now, policy.results) if class_ == "artifacts" else _FIRST_MONTH
    return await store.list_partition_months(connection, first, before)


async def _list_run_months(connection: Connection, before: date) -> list[date]:
    months: set[date] = set()
    for organization in await organizations_store.list_all(connection):
        months |= await store.list_run_months(connection, OrgId(organization["org_id"]), before)
    return sorted(months)


async def find_expired_rows(connection: Connection, class_: RetentionClass, month: date) -> ExpiredMonth:
    """Return the rows that an expired month of a class removes, for each organization."""
    ranges: list[RunRange] = []
    is_complete = True
    for organization in await organizations_store.list_all(connection):
        month_range = store.month_range(OrgId(organization["org_id"]), month)
        found = await store.find_ranges(connection, class_, month_range)
        is_complete = is_complete and found == [month_range]
        ranges += found
    removed = REMOVED_CLASSES[class_]
    return ExpiredMonth([ExpiredRows(each, range_) for each in removed for range_ in ranges], is_complete)


async def count_expired(connection: Connection, policy: RetentionPolicy) -> list[ExpiredSize]:
    """Return the size of all expired data, including months in the grace period. Raises ClocksDiffer."""
    now = await read_verified_clock(connection)
    slugs = {row["org_id"]: row["slug"] for row in await organizations_store.list_all(connection)}
    totals: defaultdict[tuple[RetentionClass, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for rows in await _find_all(connection, policy, now):
        for size in await _count(connection, rows):
            total = totals[rows.class_, slugs[rows.range.org_id], size.project_id]
            total[0] += size.rows
            total[1] += size.bytes
    order = {class_: position for position, class_ in enumerate(RETENTION_CLASSES)}
    keys = sorted(totals, key=lambda key: (order[key[0]], *key[1:]))
    return [ExpiredSize(*key, *totals[key]) for key in keys if totals[key][0]]


async def _find_all(connection: Connection, policy: RetentionPolicy, now: datetime) -> list[ExpiredRows]:
    return [
        rows
        for class_ in RETENTION_CLASSES
        for month in await list_expired_months(connection, policy, class_, now)
        for rows in (await find_expired_rows(connection, class_, month)).rows
    ]


async def _count(connection: Connection, rows: ExpiredRows) -> list[ProjectSize]:
    sizes: list[ProjectSize] = []
    range_ = rows.range
    reached: RunKey | None = range_.after
    while reached is not None:
        range_ = range_._replace(after=reached)
        found, reached = await store.count_rows(connection, rows.class_, range_, _MAX_COUNTED_RUNS)
        sizes += found
    return sizes


async def verified_now(pool: Pool) -> datetime:
    """Return the time of the database, as `read_verified_clock` does, on a connection of the pool."""
    async with pool.acquire() as connection:
        return await read_verified_clock(connection)


async def read_verified_clock(connection: Connection) -> datetime:
    """Return the time of the database. Raises ClocksDiffer if this process has a different time.

    A wrong clock would delete data within its retention. Two machines rarely have the same wrong time.
    """
    database, process = await store.read_clock(connection), datetime.now(UTC)
    if abs(database - process) > _MAX_DIFFERENCE:
        raise ClocksDiffer(
            f"the clock of the database ({database:%Y-%m-%d %H:%M:%S} UTC) and the clock of this process"
            f" ({process:%Y-%m-%d %H:%M:%S} UTC) differ by more than {_MAX_DIFFERENCE}. No data is deleted."
            " Correct the wrong clock."
        )
    return database
