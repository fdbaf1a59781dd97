"""Lets go of results beyond the retention, whole months at a time: details, artifacts and files go with them.

The runs stay, with their counts, and say that their results have expired.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Final

from service.domain.ids import OrgId, RunKey, first_run_key
from service.log import log
from service.storage import Storage
from service.store import organizations, partitions
from service.store.postgres.database import Connection, Pool, as_owner

_MARGIN: Final = timedelta(days=1)  # over which what was accepted in time may still be on its way
_RUNS_AT_ONCE: Final = 1_000
_LOOKS_AT_ONCE: Final = 5_000  # at artifacts, of which few may be files of ours
_FILES_AT_ONCE: Final = 50
_NONE: Final = date.min  # no month is that old


async def expire_results(pool: Pool, storage: Storage, database_url: str, retention: timedelta) -> None:
    """Takes the months away that ended before the retention began, oldest first.

    The order makes every moment a good one to die at: the runs say it first, files go while rows still name them, then
    the partitions, one by one. The next round finds what is left. Of several processes, one is at it at a time.
    """
    kept = partitions.month_of(datetime.now(UTC) - retention - _MARGIN)
    async with as_owner(database_url) as owner:
        if not await partitions.claim_dropping(owner):
            return
        await _drop(owner, _NONE)  # only what somebody has begun
        for month in await partitions.find_months(owner, kept):
            await _mark(pool, month)
            await _delete_files(pool, storage, month)
            await _drop(owner, month)
            log.info("results_expired", month=f"{month:%Y-%m}")


async def _mark(pool: Pool, month: date) -> None:
    async with pool.acquire() as connection:
        for organization in await organizations.list_all(connection):
            after: RunKey | None = first_run_key(0)
            while after is not None:
                after = await partitions.expire_runs(
                    connection, OrgId(organization["org_id"]), month, after, _RUNS_AT_ONCE
                )


async def _delete_files(pool: Pool, storage: Storage, month: date) -> None:
    after: partitions.ArtifactKey | None = partitions.BEFORE_ALL
    while after is not None:
        async with pool.acquire() as connection:
            paths, after = await partitions.find_files(connection, month, after, _LOOKS_AT_ONCE)
        while paths:
            some = [paths.pop() for _ in range(min(len(paths), _FILES_AT_ONCE))]
            await asyncio.gather(*map(storage.delete, some))


async def _drop(owner: Connection, until: date) -> None:
    while statement := await partitions.take_step(owner, until):
        log.info("partition_taken_away", statement=statement)
