"""Deletes what killed processes have left of uploaded reports: files in storage, and folders on this machine."""

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
from service.usecases.retention.cleanup import RECEIPTS_KEPT

FOLDER_PREFIX: Final = "zof-results-report-"
_LEFT_KEPT: Final = timedelta(days=1)  # longer than any upload takes, and than any report is worked on
_TOLD_BY_RECEIPTS: Final = RECEIPTS_KEPT - timedelta(days=1)
# What producers put into the inbox, to refer to it, has other names and is theirs.
_KEPT: Final = re.compile(r"inbox/([1-9][0-9]{0,8})/(rcp_[0-9a-f]{32})/[0-9]+", re.ASCII)


async def delete_orphaned_uploads(pool: Pool, storage: Storage) -> None:
    """Deletes files of reports that are over, or never came to be, and that no run has taken as its artifact.

    Receipts tell. Of an upload that is older than they are kept nobody knows any more whose it is: it stays.
    """
    oldest_ms = time.time_ns() // 1_000_000 - _TOLD_BY_RECEIPTS // timedelta(milliseconds=1)
    async for paths in storage.list_older("inbox", _LEFT_KEPT):
        if files := [file for file in _files(paths) if id_timestamp_ms(file.folder) > oldest_ms]:
            async with pool.acquire() as connection:
                unowned = await reports.find_orphaned(connection, files)
            for path in unowned:
                await storage.delete(path)
                log.info("left_upload_deleted", path=path)


def delete_orphaned_folders() -> None:
    """Deletes the folders in which workers that died had reports in work."""
    newest = time.time() - _LEFT_KEPT.total_seconds()
    for folder in Path(gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):  # another process deletes it too, or it is another account's
            if folder.stat().st_mtime < newest:
                shutil.rmtree(folder)
                log.info("left_folder_deleted", folder=str(folder))


def _files(paths: Sequence[str]) -> Iterator[UploadedFile]:
    for path in paths:
        if kept := _KEPT.fullmatch(path):
            yield UploadedFile(OrgId(int(kept[1])), kept[2], path)
