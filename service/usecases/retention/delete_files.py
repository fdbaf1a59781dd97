"""Deletion of the files whose rows were deleted or replaced. Uses no connection while it deletes files."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from service.storage import Storage
from service.store import file_deletions
from service.store.file_deletions import FileDeletion
from service.store.postgres.database import Pool
from service.usecases.retention.orphaned_files import delete_orphaned_of_run

_LEASE: Final = timedelta(minutes=10)
_CONCURRENT_DELETIONS: Final = 50


async def delete_queued_files(pool: Pool, storage: Storage) -> None:
    """Delete the queued files. Several processes can call it concurrently, and any of them can crash.

    A file that can't be deleted is retried after the lease, so that it doesn't block the others. Raises its error.
    """

    async def delete(file: FileDeletion) -> None:
        if file.is_folder:
            await delete_orphaned_of_run(pool, storage, file.path)
        else:
            await storage.delete(file.path)

    while claimed := await _claim(pool):
        outcomes = await asyncio.gather(*map(delete, claimed), return_exceptions=True)
        await _finish(pool, [file for file, error in zip(claimed, outcomes, strict=True) if error is None])
        for error in outcomes:
            if error is not None:
                raise error


async def _claim(pool: Pool) -> list[FileDeletion]:
    async with pool.acquire() as connection:
        return await file_deletions.claim(connection, _LEASE, _CONCURRENT_DELETIONS)


async def _finish(pool: Pool, deleted: Sequence[FileDeletion]) -> None:
    async with pool.acquire() as connection:
        await file_deletions.finish(connection, deleted)
