"""Removal of results after the retention, by month: partitions of results, details, and artifacts, and their files.

The runs keep their counts, and their `results_expired` becomes true.
"""

import asyncio
from datetime import date, timedelta
from typing import Final

from service.domain.ids import OrgId, RunKey, first_run_key
from service.log import log
from service.storage import Storage
from service.store import organizations, partitions
from service.store.postgres.database import Connection, Pool, as_owner
from service.usecases.retention.clock import read_verified_clock

_MARGIN: Final = timedelta(days=1)  # maximum time between the acceptance and the storage of an event
_MAX_OBSERVED: Final = timedelta(hours=2)  # between two calls; more than this is a jump of the clock, or downtime
_MAX_RUNS: Final = 1_000  # per transaction
_MAX_ARTIFACTS: Final = 5_000  # examined per query; few of them can be stored files
_CONCURRENT_DELETIONS: Final = 50
_BEFORE_ALL_MONTHS: Final = date.min


async def expire_results(
    pool: Pool, storage: Storage, database_url: str, retention: timedelta, grace: timedelta
) -> None:
    """Remove the oldest month that ended before the retention began, after a grace period.

    A call removes at most one month, and only if earlier calls observed it as expired for the grace period, so that an
    operator can correct a wrong retention or clock. Uses the clock of the database. Raises ClocksDiffer.

    The month is removed in an order that allows an interruption at any point: first the runs are marked, then the
    files are deleted while rows still reference them, and then the partitions are dropped one by one. The next call
    continues. A lock ensures that only one process removes results.
    """
    async with as_owner(database_url) as owner:
        if not await partitions.try_lock_dropping(owner):
            return
        await _drop(owner, _BEFORE_ALL_MONTHS)  # only continues interrupted removals
        first_retained = partitions.month_of(await read_verified_clock(owner) - retention - _MARGIN)
        month = await _find_month(owner, first_retained, grace)
        if month is not None:
            await _mark_runs(pool, month)
            await _delete_files(pool, storage, month)
            await _drop(owner, month)
            log.info("results_expired", month=f"{month:%Y-%m}")


async def _find_month(owner: Connection, first_retained: date, grace: timedelta) -> date | None:
    """Return the oldest month whose grace period is over, or None. Log the months whose grace period begins."""
    expired = await partitions.observe_expired_months(owner, first_retained, _MAX_OBSERVED)
    for each in expired:
        if each.is_new:
            log.warning("results_expire_soon", month=f"{each.month:%Y-%m}", grace_days=grace.days)
    return next((each.month for each in expired if each.waited >= grace), None)


async def _mark_runs(pool: Pool, month: date) -> None:
    async with pool.acquire() as connection:
        for organization in await organizations.list_all(connection):
            after: RunKey | None = first_run_key(0)
            while after is not None:
                after = await partitions.expire_runs(connection, OrgId(organization["org_id"]), month, after, _MAX_RUNS)


async def _delete_files(pool: Pool, storage: Storage, month: date) -> None:
    after: partitions.ArtifactKey | None = partitions.FIRST_ARTIFACT_KEY
    while after is not None:
        async with pool.acquire() as connection:
            paths, after = await partitions.find_files(connection, month, after, _MAX_ARTIFACTS)
        while paths:
            chunk = [paths.pop() for _ in range(min(len(paths), _CONCURRENT_DELETIONS))]
            await asyncio.gather(*map(storage.delete, chunk))


async def _drop(owner: Connection, until: date) -> None:
    while statement := await partitions.run_next_drop_step(owner, until):
        log.info("partition_step_executed", statement=statement)
