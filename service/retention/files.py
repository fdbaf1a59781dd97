"""Cleanup of the files and temporary folders that killed processes left in storage and on disk.

A process writes a file before it inserts the row that refers to the file. If it's killed in between, no row ever does.
"""

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from typing import Final
from uuid import UUID

from service.artifacts import store as artifacts_store
from service.artifacts.store import RunFile
from service.database.database import Connection, Pool
from service.domain.ids import OrgId, RunKey, id_timestamp_ms
from service.exports import store as exports_store
from service.log import log
from service.reports import store as reports_store
from service.reports.model import FOLDER_PREFIX
from service.reports.store import UploadedFile
from service.retention import file_deletions, store
from service.retention.cleanup import RECEIPT_RETENTION
from service.retention.expiry import verified_now
from service.retention.file_deletions import FileDeletion
from service.retention.store import UPLOADS_END_AFTER
from service.storage import Area, Storage

_MIN_AGE: Final = timedelta(days=1)  # exceeds the duration of every upload, ingestion, and export
_MAX_AGE: Final = RECEIPT_RETENTION - timedelta(days=1)
_PAGE: Final = 1_000  # files, as many as one request of S3 returns
_MAX_PAGES: Final = 50  # of each area per call, so that millions of files are compared in several calls
_COMMIT_S: Final = 70.0  # longer than the transaction that inserts the row of a complete file
_CONCURRENT_DELETIONS: Final = 50
_LEASE: Final = timedelta(minutes=10)  # of queued deletions
# Producers store files in these areas to refer to them. These have other names, and the service never deletes them.
_UPLOADED_PATH: Final = re.compile(
    r"inbox/([1-9][0-9]{0,8})/(rcp_[0-9a-f]{32})/(?:[0-9]+|(?:output|embedded)-[0-9a-f]{32})", re.ASCII
)
_ARTIFACT_PATH: Final = re.compile(r"artifacts/([1-9][0-9]{0,8})/([0-9a-f]{32})/[0-9a-f]{32}", re.ASCII)
FindOrphaned = Callable[[Connection, Sequence[str]], Awaitable[list[str]]]  # returns the paths without a row


async def delete_queued_files(pool: Pool, storage: Storage) -> None:
    """Delete the queued files. Several processes can call it concurrently, and any of them can crash.

    A file that can't be deleted is retried after the lease, so that it doesn't block the others. Raises its error.
    """

    async def delete(file: FileDeletion) -> None:
        if file.is_folder:
            await delete_orphaned_of_run(pool, storage, file.path)
        else:
            await storage.delete(file.path)

    while True:
        async with pool.acquire() as connection:
            leased = await file_deletions.lease(connection, _LEASE, _CONCURRENT_DELETIONS)
        if not leased:
            return
        outcomes = await asyncio.gather(*map(delete, leased), return_exceptions=True)
        async with pool.acquire() as connection:
            deleted = [file for file, error in zip(leased, outcomes, strict=True) if error is None]
            await file_deletions.finish(connection, deleted)
        for error in outcomes:
            if error is not None:
                raise error


async def delete_orphaned_of_run(pool: Pool, storage: Storage, folder: str) -> None:
    """Delete the files in the folder of a deleted run that no row refers to.

    A run that was stored again after its deletion has the same folder. Its new files are too new to be deleted. Raises
    ClocksDiffer.
    """
    newest = await verified_now(pool) - UPLOADS_END_AFTER
    after, is_last = "", False
    while not is_last:
        page = await storage.list_page(folder.rstrip("/"), after, _PAGE)
        paths = [file.path for file in page if file.modified_at < newest]
        for error in await _delete_orphaned(pool, storage, _find_orphaned_artifacts, paths):
            raise error
        is_last = len(page) < _PAGE
        after = "" if is_last else page[-1].path


async def delete_orphaned_files(pool: Pool, storage: Storage) -> None:
    """Delete the partially written files, and the complete files that no row refers to, after a day.

    A call continues where the previous one of any process has ended. Raises ClocksDiffer, because a new file seems to
    be old if the clock is wrong, and the error of a file that can't be deleted, after it has examined the others.
    """
    newest = await verified_now(pool) - _MIN_AGE
    await asyncio.to_thread(storage.delete_partial_files, _MIN_AGE)
    errors: list[Exception] = []
    for area, find_orphaned in _FINDERS.items():
        for _ in range(_MAX_PAGES):
            async with pool.acquire() as connection:
                after = await store.find_position(connection, area)
            page = await storage.list_page(area, after, _PAGE)
            errors += await _delete_orphaned(
                pool, storage, find_orphaned, [file.path for file in page if file.modified_at < newest], _COMMIT_S
            )
            is_last = len(page) < _PAGE
            async with pool.acquire() as connection:
                await store.set_position(connection, area, "" if is_last else page[-1].path)
            if is_last:
                break
    for error in errors:
        raise error


async def _delete_orphaned(
    pool: Pool, storage: Storage, find_orphaned: FindOrphaned, paths: Sequence[str], commit_s: float = 0.0
) -> list[Exception]:
    """Delete the files without a row, and return the errors.

    S3 states the start of an upload as its time, so that a file that took more than a day to upload has an old one. Its
    row can be inserted right now, and exists after `commit_s`.
    """
    if not paths:
        return []
    async with pool.acquire() as connection:
        orphaned = await find_orphaned(connection, paths)
    if orphaned and commit_s:
        await asyncio.sleep(commit_s)
        async with pool.acquire() as connection:
            orphaned = await find_orphaned(connection, orphaned)
    errors: list[Exception] = []
    for start in range(0, len(orphaned), _CONCURRENT_DELETIONS):
        chunk = orphaned[start : start + _CONCURRENT_DELETIONS]
        outcomes = await asyncio.gather(*map(storage.delete, chunk), return_exceptions=True)
        for path, error in zip(chunk, outcomes, strict=True):
            if isinstance(error, Exception):
                errors.append(error)
            elif path.startswith("exports/"):
                log.info("orphaned_export_file_deleted", path=path)
            else:
                log.info("orphaned_upload_deleted", path=path)
    return errors


async def _find_orphaned_artifacts(connection: Connection, paths: Sequence[str]) -> list[str]:
    matches = map(_ARTIFACT_PATH.fullmatch, paths)
    files = [RunFile(OrgId(int(each[1])), RunKey(UUID(hex=each[2])), each[0]) for each in matches if each]
    return await artifacts_store.find_orphaned(connection, files)


async def _find_orphaned_uploads(connection: Connection, paths: Sequence[str]) -> list[str]:
    """Return the uploaded files that belong to no queued report and to no run.

    The owner of a file is determined by its receipt. Files that are older than the retention of receipts are never
    deleted, because their owner is unknown.
    """
    oldest_ms = int((await store.read_clock(connection) - _MAX_AGE).timestamp() * 1000)
    matches = map(_UPLOADED_PATH.fullmatch, paths)
    files = [UploadedFile(OrgId(int(each[1])), each[2], each[0]) for each in matches if each]
    files = [file for file in files if id_timestamp_ms(file.folder) > oldest_ms]
    return await reports_store.find_orphaned(connection, files) if files else []


_FINDERS: Final[Mapping[Area, FindOrphaned]] = {
    "artifacts": _find_orphaned_artifacts,
    "inbox": _find_orphaned_uploads,
    "exports": exports_store.find_orphaned_files,
}


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
