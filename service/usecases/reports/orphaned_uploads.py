"""Cleanup of the files and temporary folders that killed processes left in storage and on disk."""

import asyncio
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from service.domain.ids import OrgId, id_timestamp_ms
from service.log import log
from service.storage import Storage
from service.store import reports
from service.store.postgres.database import Pool
from service.store.reports import UploadedFile
from service.usecases.retention.cleanup import RECEIPT_RETENTION
from service.usecases.retention.clock import verified_now

FOLDER_PREFIX: Final = "zof-results-report-"
_MIN_AGE: Final = timedelta(days=1)  # exceeds the duration of every upload and of every ingestion
_MAX_AGE: Final = RECEIPT_RETENTION - timedelta(days=1)
# Producers store files in the inbox to refer to them. These have other names, and the service never deletes them.
_UPLOADED_PATH: Final = re.compile(
    r"inbox/([1-9][0-9]{0,8})/(rcp_[0-9a-f]{32})/(?:[0-9]+|(?:output|embedded)-[0-9a-f]{32})", re.ASCII
)


async def delete_orphaned_uploads(pool: Pool, storage: Storage) -> None:
    """Delete the uploaded files that belong to no queued report and to no run.

    The owner of a file is determined by its receipt. Files that are older than the retention of receipts are never
    deleted, because their owner is unknown.

    Raises ClocksDiffer, because a new file seems to be old if the clock is wrong.
    """
    oldest_ms = int((await verified_now(pool) - _MAX_AGE).timestamp() * 1000)
    async for paths in storage.list_older("inbox", _MIN_AGE):
        if files := [file for file in _files(paths) if id_timestamp_ms(file.folder) > oldest_ms]:
            async with pool.acquire() as connection:
                orphaned = await reports.find_orphaned(connection, files)
            for path in orphaned:
                await storage.delete(path)
                log.info("orphaned_upload_deleted", path=path)


async def delete_orphaned_folders(pool: Pool) -> None:
    """Delete the temporary folders of crashed workers. Raises ClocksDiffer."""
    await verified_now(pool)
    await asyncio.to_thread(_delete_old_folders)


def _delete_old_folders() -> None:
    newest = time.time() - _MIN_AGE.total_seconds()
    for folder in Path(gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):  # another process deletes the folder too, or it belongs to another account
            if folder.stat().st_mtime < newest:
                shutil.rmtree(folder)
                log.info("orphaned_folder_deleted", folder=str(folder))


def _files(paths: Sequence[str]) -> Iterator[UploadedFile]:
    for path in paths:
        if match := _UPLOADED_PATH.fullmatch(path):
            yield UploadedFile(OrgId(int(match[1])), match[2], path)
