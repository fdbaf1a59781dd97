"""Files in a local folder or in S3, written and read as streams of any size with bounded memory."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from heapq import nsmallest
from itertools import islice
from operator import attrgetter
from pathlib import Path, PurePosixPath
from tempfile import NamedTemporaryFile
from time import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from service.domain.bucket_keys import BucketKey
from service.domain.errors import NotFound, Unavailable
from service.storage.paths import PARTIAL_SUFFIX, content_disposition, is_partial_path

if TYPE_CHECKING:
    from obstore.store import (
        ClientConfig,  # defined for type checkers only
        RetryConfig,  # defined for type checkers only
        S3Config,  # defined for type checkers only
    )


_PART_BYTES: Final = 8 * 2**20  # size of one request of a multipart upload
_FOLDER_PART_BYTES: Final = 2**20
_SYNC_BYTES: Final = 4 * 2**20
_CONCURRENT_PARTS: Final = 2
_CHUNK_BYTES: Final = 256 * 2**10
_RETRIES: "Final[RetryConfig]" = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
# The default of the library, 30 s for each request with its body, would end each transfer of 777 kB at 20 kB/s. A read
# has a limit for the time without any byte. The library doesn't know the progress of a write.
_READING: "Final[ClientConfig]" = {"read_timeout": timedelta(seconds=30), "timeout": timedelta(days=1)}
_WRITING: "Final[ClientConfig]" = {"timeout": timedelta(seconds=90)}
_CLIENT_VARIABLES: Final = (
    "allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_keep_alive_interval",
    "http2_keep_alive_timeout", "http2_keep_alive_while_idle", "http2_only", "pool_idle_timeout",
    "pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes", "proxy_url", "randomize_addresses",
    "read_timeout", "root_certificate", "timeout", "user_agent",
)  # fmt: skip
_MAX_DOWNLOAD_NAME: Final = 100  # characters of up to 13 bytes each: S3 limits the metadata of an object to 2 KB
_ABORT_TIMEOUT_S: Final = 10.0

# Error texts of a folder, MinIO, and Ceph.
_FULL_TEXTS: Final = ("no space left", "quota exceeded", "storagefull", "quotaexceeded")
_DENIED_TEXTS: Final = (
    "permission denied", "not permitted", "read-only file system", "lacked the necessary privileges",
    "lacked valid authentication",
)  # fmt: skip
_NO_BUCKET_TEXT: Final = "nosuchbucket"
_NO_BUCKET: Final = "the bucket of the file storage does not exist"
_NO_TLS_TEXT: Final = "badscheme"  # the HTTP client of the library rejects http://
_MISSING: Final = "the file storage does not exist. Check that its volume is mounted."
_PARTIAL_NAME: Final = re.compile(r"#\d+$", re.ASCII)
_MARKER: Final = ".zof-results-storage"
_DENIED_ERRORS: Final = (PermissionError, PermissionDeniedError, UnauthenticatedError)


class ListedFile(NamedTuple):
    """A complete file. S3 states the start of a multipart upload as its time."""

    path: str
    modified_at: datetime


class FileWriter:
    """Writes one file. The file becomes visible only when it's complete.

    In a folder, the bytes are on the disk a few MiB later. If fsync wrote a large file at its end, each commit of a
    PostgreSQL server on the same disk would wait for it.
    """

    def __init__(self, file: Any, path: str, folder: Path | None) -> None:
        self._file = file
        self._path = path
        self._partial = folder and folder / f"{path}{PARTIAL_SUFFIX}"
        self._digest = sha256()
        self._synced = 0  # bytes
        self.size = 0  # bytes

    async def write(self, data: bytes | memoryview) -> None:
        """Append the data. Returns when the storage accepts more, so that a slow storage slows down the source."""
        if not data:
            return
        with _translated_write_errors(self._path):
            await asyncio.gather(asyncio.to_thread(self._digest.update, data), self._file.write(data))
            self.size += len(data)
            if self._partial and self.size - self._synced >= _SYNC_BYTES:
                self._synced = self.size
                await asyncio.to_thread(_sync_partial, self._partial)

    @property
    def sha256(self) -> bytes:
        """Return the SHA-256 of all bytes written so far."""
        return self._digest.digest()


class Storage:
    """The files under one URL: `file:///folder` or `s3://bucket/prefix`.

    The environment sets the endpoint, region, and credentials of S3 (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_ALLOW_HTTP=true for an endpoint without TLS, …). `key` replaces the credentials. Each
    method raises NotFound if a file doesn't exist, and Unavailable if the storage doesn't respond, is full, denies
    access, or is missing.

    A folder contains a marker directory. Without it, the folder isn't the storage, for example because its volume is
    not mounted: its files aren't lost, and a file that is written now would be hidden by the volume later.
    """

    def __init__(self, url: str, key: BucketKey | None = None) -> None:
        self.url = url
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        self._has_created_marker = False
        self._store: LocalStore | S3Store
        self._readable: LocalStore | S3Store
        self._writable: LocalStore | S3Store
        if self._folder:
            self._store = self._readable = self._writable = LocalStore(self._folder, mkdir=True)
            with suppress(OSError):  # such as a full disk; each operation repeats this step and reports the error
                self._create_marker()
        elif url.startswith("s3:"):
            self._store, self._readable, self._writable = (
                S3Store.from_url(url, config=_key_config(key), client_options=options, retry_config=_RETRIES)
                for options in (None, _with_variables(_READING), _with_variables(_WRITING))
            )
        else:
            raise ValueError(f"{url!r} must be file:///folder or s3://bucket/prefix")

    @asynccontextmanager
    async def open_writer(
        self, path: str, content_type: str | None = None, download_name: str | None = None
    ) -> AsyncIterator[FileWriter]:
        """Open a file for writing. It becomes visible when the block ends, and never if the block raises.

        When the block ends, a file in a folder also survives a crash of the machine. A presigned URL returns
        `content_type` and `download_name` in its headers. A browser saves the file, because an uploaded HTML page must
        not run on the origin of the bucket.
        """
        self._require_marker()
        opening = obstore.open_writer_async(
            self._writable,
            path,
            attributes=None if self._folder else _attributes(content_type, download_name),
            buffer_size=_FOLDER_PART_BYTES if self._folder else _PART_BYTES,
            max_concurrency=_CONCURRENT_PARTS,
        )
        with _translated_write_errors(path):
            file = await opening.__aenter__()
        try:
            yield FileWriter(file, path, self._folder)
        except BaseException as error:
            await _abort(opening, error)
            raise
        with _translated_write_errors(path):
            await opening.__aexit__(None, None, None)
            self._require_marker()  # the storage created the folder again if it was removed during the write
            if self._folder:
                await asyncio.to_thread(_sync, self._folder, path)

    async def read(self, path: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Return the bytes from `start` (inclusive) to `end` (exclusive, at most the size) as chunks.

        The file is open when this method returns.
        """
        if start == end:
            await self.size(path)
            return _no_chunks()
        is_complete = start == 0 and end is None
        options: Any = None if is_complete else {"range": (start, end) if end is not None else {"offset": start}}
        async with self._translated_errors(path):
            found = await self._readable.get_async(path, options=options)
        return _chunks(path, found.stream(min_chunk_size=_CHUNK_BYTES))

    async def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        async with self._translated_errors(path):
            return (await self._store.head_async(path))["size"]

    async def delete(self, path: str) -> None:
        """Delete a file. Does nothing if the file doesn't exist."""
        try:
            async with self._translated_errors(path):
                await self._store.delete_async(path)
        except NotFound:
            return

    async def list_all(self, prefix: str) -> AsyncIterator[list[str]]:
        """Return the paths under a prefix, in batches."""
        self._require_marker()
        with _translated_errors(prefix):
            async for batch in self._store.list(prefix):
                yield [found["path"] for found in batch]

    async def list_page(self, folder: str, after: str, limit: int) -> list[ListedFile]:
        """Return at most `limit` files of a folder and its subfolders, in a fixed order, after the file `after`.

        An empty `after` starts with the first file. The memory and time of a call don't depend on the number of files
        in a bucket; in a local folder, a call reads the names in the folders on the path to its files.
        """
        self._require_marker()
        with _translated_errors(folder):
            if self._folder:
                return await asyncio.to_thread(_list_folder, self._folder, folder, after, limit)
            async for batch in self._store.list(folder, offset=after or None, chunk_size=limit):
                return [ListedFile(found["path"], found["last_modified"]) for found in batch]
        return []

    async def presign(self, path: str, lifetime: timedelta) -> str | None:
        """Return a presigned URL of the file, or None for a local folder."""
        if isinstance(self._store, LocalStore):
            return None
        await self.size(path)  # without this check, S3 itself would return the error for a missing file
        with _translated_errors(path):
            return await obstore.sign_async(self._store, "GET", path, lifetime)

    def delete_partial_files(self, min_age: timedelta) -> int:
        """Delete partially written files in a local folder and return their number. Use a lifecycle rule for S3.

        Files of producers can have any name, so only names that the service itself writes are deleted.
        """
        deleted = 0
        for partial in self._folder.rglob("*#*") if self._folder else ():
            if not is_partial_path(partial.relative_to(self._folder or "").as_posix()):
                continue
            with suppress(FileNotFoundError):  # its writer has finished or deleted it
                if partial.stat().st_mtime < time() - min_age.total_seconds():
                    partial.unlink()
                    deleted += 1
        return deleted

    async def check(self) -> None:
        """Raise Unavailable, with the reason, if files can't be listed or, in a folder, can't be written."""
        await self._require_storage()
        if self._folder:
            with _translated_write_errors(""):
                await asyncio.to_thread(_check_writable, self._folder / _MARKER)

    async def _require_storage(self) -> None:
        """Raise Unavailable if the bucket doesn't exist or the folder isn't the storage."""
        self._require_marker()
        if self._folder is None:
            with _translated_write_errors(""):
                async for _ in self._store.list("inbox/", chunk_size=1):
                    break

    def _require_marker(self) -> None:
        """Raise Unavailable if the folder isn't the storage."""
        if self._folder is None:
            return
        with _translated_write_errors(""):
            if not self._has_created_marker:
                self._create_marker()
            exists = (self._folder / _MARKER).is_dir()
        if not exists:
            raise Unavailable(_MISSING)

    def _create_marker(self) -> None:
        """Create the marker once per process, so that a folder that is missing later doesn't get one."""
        if self._folder:
            (self._folder / _MARKER).mkdir(exist_ok=True)
        self._has_created_marker = True

    @asynccontextmanager
    async def _translated_errors(self, path: str) -> AsyncIterator[None]:
        """Translate errors. A file is only missing if the storage itself exists: a HEAD response has no reason."""
        try:
            with _translated_errors(path):
                yield
        except NotFound:
            await self._require_storage()
            raise


def _sync(folder: Path, path: str) -> None:
    """Write a file and the entries of its directories to the disk."""
    target = folder / path
    for written in (target, *target.parents[: len(target.relative_to(folder).parts)]):
        _fsync(written)


def _sync_partial(partial: Path) -> None:
    """Write the current bytes of a partially written file to the disk.

    The library can use another suffix, if a crashed process wrote the same file. `_sync` then writes all bytes.
    """
    with suppress(FileNotFoundError):
        _fsync(partial)


def _list_folder(root: Path, folder: str, after: str, limit: int) -> list[ListedFile]:
    """Return a page of the files in a local folder, in the order of the parts of their paths."""
    start = PurePosixPath(after).relative_to(folder).parts if after else ()
    return list(islice(_stored_files(root, _entries_after(str(root / folder), start, limit)), limit))


def _stored_files(root: Path, entries: Iterable[os.DirEntry[str]]) -> Iterator[ListedFile]:
    for entry in entries:
        with suppress(FileNotFoundError):  # deleted since its folder was read
            modified_at = datetime.fromtimestamp(entry.stat().st_mtime, UTC)
            yield ListedFile(Path(entry.path).relative_to(root).as_posix(), modified_at)


def _entries_after(folder: str, start: Sequence[str], limit: int) -> Iterator[os.DirEntry[str]]:
    """Yield the complete files of a folder and its subfolders, after the path `start`, with the memory of a page."""
    first = start[0] if start else ""
    is_included = len(start) > 1  # a subfolder of which some files follow
    while True:
        try:
            with os.scandir(folder) as found:
                following = (each for each in found if each.name > first or (is_included and each.name == first))
                entries = nsmallest(limit, following, key=attrgetter("name"))
        except FileNotFoundError:
            return
        for entry in entries:
            if entry.is_dir():
                yield from _entries_after(entry.path, start[1:] if entry.name == first else (), limit)
            elif _PARTIAL_NAME.search(entry.name) is None:
                yield entry
        if len(entries) < limit:
            return
        first, is_included, start = entries[-1].name, False, ()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_writable(folder: Path) -> None:
    with NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")


def _key_config(key: BucketKey | None) -> "S3Config":
    """Return the part of the configuration that replaces the credentials in the environment."""
    return {"access_key_id": key.key_id, "secret_access_key": key.secret} if key else {}


def _with_variables(options: "ClientConfig") -> "ClientConfig":
    """Add the variables of the client, such as AWS_ALLOW_HTTP, which the library ignores if it gets options."""
    variables = {name: os.environ.get(f"AWS_{name.upper()}") for name in _CLIENT_VARIABLES}
    return cast("ClientConfig", {**options, **{name: value for name, value in variables.items() if value}})


def _attributes(content_type: str | None, download_name: str | None) -> Any:
    name = download_name and download_name[-_MAX_DOWNLOAD_NAME:]
    disposition = content_disposition(name) if name else "attachment"
    attributes = {"Content-Type": content_type, "Content-Disposition": disposition}
    return {name: value for name, value in attributes.items() if value}


async def _abort(opening: Any, error: BaseException) -> None:
    """Delete the parts of an incomplete file. If the storage is down, upkeep deletes the parts later."""
    try:
        async with asyncio.timeout(_ABORT_TIMEOUT_S):
            await opening.__aexit__(type(error), error, None)
    except (BaseError, OSError) as failure:
        error.add_note(f"the partially written file was not deleted: {failure!r}")  # appears in the logged traceback


async def _chunks(path: str, stream: Any) -> AsyncIterator[bytes]:
    with _translated_errors(path):
        async for chunk in stream:
            yield bytes(chunk)


async def _no_chunks() -> AsyncIterator[bytes]:
    chunks: tuple[bytes, ...] = ()
    for chunk in chunks:
        yield chunk


@contextmanager
def _translated_errors(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET_TEXT in str(error).lower():
            raise Unavailable(_reason(error)) from error
        raise NotFound("the file is no longer in storage") from error
    except (BaseError, OSError) as error:
        raise Unavailable(_reason(error)) from error
    except ValueError as error:
        raise NotFound(f"{path!r} is not a valid stored path") from error


@contextmanager
def _translated_write_errors(path: str) -> Iterator[None]:
    """Translate errors of a write. A missing path then means that the storage itself is missing."""
    with _translated_errors(path):
        try:
            yield
        except FileNotFoundError as error:
            raise Unavailable(_NO_BUCKET if _NO_BUCKET_TEXT in str(error).lower() else _MISSING) from error


def _reason(error: Exception) -> str:
    text = str(error).lower()
    if any(full in text for full in _FULL_TEXTS):
        return "the file storage is full"
    if isinstance(error, _DENIED_ERRORS) or any(denied in text for denied in _DENIED_TEXTS):
        return "the file storage denies access"
    if _NO_BUCKET_TEXT in text:
        return _NO_BUCKET
    if _NO_TLS_TEXT in text:
        return "AWS_ENDPOINT_URL has no TLS. Set AWS_ALLOW_HTTP=true or use an https:// endpoint."
    return "the file storage does not respond"
