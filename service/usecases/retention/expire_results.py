"""Removal of results after the retention, by month: partitions of results, details, and artifacts, and their files.

The runs keep their counts, and their `results_expired` becomes true.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Final

from service.domain.ids import OrgId, RunKey, first_run_key
from service.log import log
from service.storage import Storage
from service.store import organizations, partitions
from service.store.postgres.database import Connection, Pool, as_owner

_MARGIN: Final = timedelta(days=1)  # maximum time between the acceptance and the storage of an event
_MAX_RUNS: Final = 1_000  # per transaction
_MAX_ARTIFACTS: Final = 5_000  # examined per query; few of them can be stored files
_CONCURRENT_DELETIONS: Final = 50
_BEFORE_ALL_MONTHS: Final = date.min


async def expire_results(pool: Pool, storage: Storage, database_url: str, retention: timedelta) -> None:
    """Remove the months that ended before the retention began, oldest first.

    Each month is removed in an order that allows an interruption at any point: first the runs are marked, then the
    files are deleted while rows still reference them, and then the partitions are dropped one by one. The next call
    continues. A lock ensures that only one process removes results.
    """
    first_retained = partitions.month_of(datetime.now(UTC) - retention - _MARGIN)
    async with as_owner(database_url) as owner:
        if not await partitions.try_lock_dropping(owner):
            return
        await _drop(owner, _BEFORE_ALL_MONTHS)  # only continues interrupted removals
        for month in await partitions.find_months(owner, first_retained):
            await _mark_runs(pool, month)
            await _delete_files(pool, storage, month)
            await _drop(owner, month)
            log.info("results_expired", month=f"{month:%Y-%m}")


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
