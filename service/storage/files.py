"""Files in a local folder or in S3, written and read as streams of any size in little memory."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, S3Store

from service.domain.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from obstore.store import RetryConfig  # only type checkers know it

_PART_BYTES: Final = 8 * 2**20  # what one request of a multipart upload carries
_PARTS_AT_ONCE: Final = 2
_CHUNK_BYTES: Final = 256 * 2**10
_RETRIES: "Final[RetryConfig]" = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}
_GIVE_UP_S: Final = 10.0

# Storages say it in words: a folder, MinIO, Ceph.
_FULL: Final = ("no space left", "quota exceeded", "storagefull", "quotaexceeded")
_REFUSED: Final = (
    "permission denied", "not permitted", "read-only file system", "lacked the necessary privileges",
    "lacked valid authentication",
)  # fmt: skip
_REFUSALS: Final = (PermissionError, PermissionDeniedError, UnauthenticatedError)


class Writing:
    """A file on its way into storage; nobody sees it before it is whole. Knows what has gone in so far."""

    def __init__(self, file: Any, path: str) -> None:
        self._file = file
        self._path = path
        self._sum = sha256()
        self.size = 0  # bytes

    async def write(self, data: bytes | memoryview) -> None:
        """Appends; returns once there is room for more, so a slow storage slows its source down."""
        if not data:
            return
        with _writing_failures_named(self._path):
            await asyncio.gather(asyncio.to_thread(self._sum.update, data), self._file.write(data))
        self.size += len(data)

    @property
    def sha256(self) -> bytes:
        """The digest of all bytes written so far."""
        return self._sum.digest()


class Storage:
    """The files under one URL: `file:///folder` or `s3://bucket/prefix`.

    Endpoint, region and credentials of S3 come from the environment as everywhere (AWS_ENDPOINT_URL, AWS_REGION,
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ALLOW_HTTP=true for one without TLS, …). Every method raises
    NotFound for a file that is not there and Unavailable where storage does not answer, is full or refuses us.
    """

    def __init__(self, url: str) -> None:
        self._folder = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        self._store: LocalStore | S3Store
        if self._folder:
            self._store = LocalStore(self._folder, mkdir=True)
        elif url.startswith("s3:"):
            self._store = S3Store.from_url(url, retry_config=_RETRIES)
        else:
            raise ValueError(f"{url!r} is neither file:///folder nor s3://bucket/prefix")

    @asynccontextmanager
    async def writing(
        self, path: str, content_type: str | None = None, download_name: str | None = None
    ) -> AsyncIterator[Writing]:
        """Writes a file, which appears when the block ends and not at all where it raises.

        `content_type` and `download_name` are what a presigned URL will answer with.
        """
        opening = obstore.open_writer_async(
            self._store,
            path,
            attributes=None if self._folder else _attributes(content_type, download_name),
            buffer_size=_PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
        )
        with _writing_failures_named(path):
            file = await opening.__aenter__()
        try:
            yield Writing(file, path)
        except BaseException as error:
            await _give_up(opening, error)
            raise
        with _writing_failures_named(path):
            await opening.__aexit__(None, None, None)

    async def read(self, path: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` to before `end`, which is at most the size; the file is open when this returns."""
        if start == end:
            await self.size(path)
            return _nothing()
        whole = start == 0 and end is None
        wanted: Any = None if whole else {"range": (start, end) if end is not None else {"offset": start}}
        with _failures_named(path):
            found = await self._store.get_async(path, options=wanted)
        return _chunks(path, found.stream(min_chunk_size=_CHUNK_BYTES))

    async def size(self, path: str) -> int:
        """How many bytes a file has."""
        with _failures_named(path):
            return (await self._store.head_async(path))["size"]

    async def delete(self, path: str) -> None:
        """Deletes a file; one that is not there is deleted already."""
        try:
            with _failures_named(path):
                await self._store.delete_async(path)
        except NotFound:
            return

    async def list_old(self, prefix: str, older_than: timedelta) -> AsyncIterator[list[str]]:
        """The paths below a folder that were last written so long ago, in batches."""
        newest = datetime.now(UTC) - older_than
        with _failures_named(prefix):
            async for batch in self._store.list(prefix):
                yield [found["path"] for found in batch if found["last_modified"] < newest]

    async def presign(self, path: str, lifetime: timedelta) -> str | None:
        """A URL that answers with the file to whoever has it, or None for local files, which have none."""
        if isinstance(self._store, LocalStore):
            return None
        await self.size(path)  # or the reason why there is no file would be told in the words of S3
        with _failures_named(path):
            return await obstore.sign_async(self._store, "GET", path, lifetime)

    def sweep(self, older_than: timedelta) -> int:
        """Deletes what killed writers have left in a local folder; returns how many files. S3 has lifecycle rules."""
        swept = 0
        for left in self._folder.rglob("*#*") if self._folder else ():
            if left.stat().st_mtime < time() - older_than.total_seconds():
                left.unlink(missing_ok=True)
                swept += 1
        return swept


def _attributes(content_type: str | None, download_name: str | None) -> Any:
    disposition = f'attachment; filename="{download_name}"' if download_name else None
    said = {"Content-Type": content_type, "Content-Disposition": disposition}
    return {name: value for name, value in said.items() if value}


async def _give_up(opening: Any, error: BaseException) -> None:
    """Has the parts of a file deleted. A storage that is down can't do that, and has time for it later: see `sweep`."""
    try:
        async with asyncio.timeout(_GIVE_UP_S):
            await opening.__aexit__(type(error), error, None)
    except (BaseError, OSError) as failure:
        error.add_note(f"what was written of it stays: {failure!r}")  # for whoever logs the error


async def _chunks(path: str, stream: Any) -> AsyncIterator[bytes]:
    with _failures_named(path):
        async for chunk in stream:
            yield bytes(chunk)


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


@contextmanager
def _failures_named(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound("the file is no longer in storage") from error
    except (BaseError, OSError) as error:
        raise Unavailable(_reason(error)) from error
    except ValueError as error:
        raise NotFound(f"{path!r} can't be a stored path") from error


@contextmanager
def _writing_failures_named(path: str) -> Iterator[None]:
    """The same for a file that is written: what is not there then is the storage itself."""
    with _failures_named(path):
        try:
            yield
        except FileNotFoundError as error:
            raise Unavailable("the file storage is not there") from error


def _reason(error: Exception) -> str:
    said = str(error).lower()
    if any(word in said for word in _FULL):
        return "the file storage is full"
    if isinstance(error, _REFUSALS) or any(word in said for word in _REFUSED):
        return "the file storage refuses access"
    return "the file storage does not answer"
