"""Removal of expired data, by class and month: artifacts, results with their details and artifacts, and runs.

A month without pinned runs is removed by dropping the partitions of its results. Otherwise, the rows between the pinned
runs are deleted in steps. After their results are removed, runs keep their counts, and `results_expired` becomes true.
"""

import asyncio
from datetime import date, timedelta
from typing import Final, NamedTuple

from service.domain.ids import OrgId, RunKey
from service.domain.retention import RETENTION_CLASSES, RetentionClass, RetentionPolicy
from service.log import log
from service.storage import Storage
from service.store import organizations, partitions, retention
from service.store.postgres.database import Connection, Pool, as_owner, pool_engine
from service.usecases.retention.clock import read_verified_clock
from service.usecases.retention.expired_data import ExpiredRows, find_expired_rows, list_expired_months

_MAX_OBSERVED: Final = timedelta(hours=2)  # between two calls; more than this is a jump of the clock, or downtime
_MAX_RUNS: Final = 1_000  # per transaction
_MAX_ROWS: Final = 5_000  # deleted per transaction
_MAX_ARTIFACTS: Final = 5_000  # examined per query; few of them can be stored files
_CONCURRENT_DELETIONS: Final = 50
_BEFORE_ALL_MONTHS: Final = date.min


class RemovedMonth(NamedTuple):
    """A month of a class of which a call has removed data."""

    data: RetentionClass
    month: date


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
    observed = await retention.observe_months(owner, class_, months, _MAX_OBSERVED)
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
    async with pool.acquire() as connection:
        for organization in await organizations.list_all(connection):
            range_ = retention.month_range(OrgId(organization["org_id"]), month)
            reached: RunKey | None = range_.after
            while reached is not None:
                range_ = range_._replace(after=reached)
                reached = await retention.expire_runs(connection, range_, _MAX_RUNS)


async def _delete_rows(pool: Pool, rows: ExpiredRows) -> int:
    """Delete the rows in steps, each in its own transaction, and return their number."""
    deleted = 0
    while True:
        async with pool.acquire() as connection:
            count = await retention.delete_rows(connection, rows.class_, rows.range, _MAX_ROWS)
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
