"""The client archives and their SHA-256 over HTTP."""

import asyncio
import re
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
from service.domain.errors import NotFound, Unavailable
from service.http.process import RESOURCES
from service.http.routes import BINARY, Operation, Route, with_etag
from service.log import log
from service.storage import Storage
from service.version import find_version

_PACKAGE: Final = Path(str(files("service")))
_WHEEL: Final = _PACKAGE / "client" / ARCHIVE_FOLDER / ARCHIVE_NAME
_CHECKOUT: Final = _PACKAGE.parent / ARCHIVE_FOLDER / ARCHIVE_NAME
_SERVED_NAME: Final = "client.pyz"
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}", re.ASCII)
_STORING_TIMEOUT_S: Final = 10.0


class ClientArchive(NamedTuple):
    """The archive and its SHA-256 in hex digits."""

    body: bytes
    sha256: str


async def download_client(_: web.Request) -> web.Response:
    """Return the archive of this version."""
    return _download(await read_installed())


async def get_client_sha256(_: web.Request) -> web.Response:
    """Return the SHA-256 of the archive of this version in the format of sha256sum."""
    return _checksum(await read_installed())


async def download_client_version(request: web.Request) -> web.Response:
    """Return the archive of a version."""
    return _download(await _requested_version(request))


async def get_client_version_sha256(request: web.Request) -> web.Response:
    """Return the SHA-256 of the archive of a version in the format of sha256sum."""
    return _checksum(await _requested_version(request))


async def _requested_version(request: web.Request) -> ClientArchive:
    return await read_version(request.app[RESOURCES].storage, request.match_info["version"])


def _download(archive: ClientArchive) -> web.Response:
    headers = {"ETag": f'"{archive.sha256}"', "Content-Disposition": f'attachment; filename="{ARCHIVE_NAME}"'}
    return web.Response(body=archive.body, content_type="application/octet-stream", headers=headers)


def _checksum(archive: ClientArchive) -> web.Response:
    line = f"{archive.sha256}  {_SERVED_NAME}\n"
    return web.Response(body=line.encode(), content_type="text/plain", headers={"ETag": f'"{archive.sha256}.sha256"'})


async def read_installed() -> ClientArchive:
    """Return the archive of this installation. Raises NotFound if it has none."""
    for path in (_WHEEL, _CHECKOUT):
        if path.is_file():
            return await asyncio.to_thread(_read, path)
    raise NotFound("this installation doesn't contain the client archive: run `make client` in a checkout to build it")


def _read(path: Path) -> ClientArchive:
    body = path.read_bytes()
    return ClientArchive(body, sha256(body).hexdigest())


async def read_version(storage: Storage, number: str) -> ClientArchive:
    """Return the stored archive of a version, and store the archive of this installation first if necessary.

    While the storage doesn't respond, the version of this installation is still available. Raises NotFound and
    Unavailable.
    """
    if not _VERSION.fullmatch(number):
        raise _unknown_version(number)
    if number != find_version():
        return await _read_stored(storage, number)
    if _CHECKOUT.is_file():
        return await read_installed()
    try:
        await store_installed(storage)
        return await _read_stored(storage, number)
    except Unavailable:
        return await read_installed()


async def _read_stored(storage: Storage, number: str) -> ClientArchive:
    try:
        body = b"".join([chunk async for chunk in await storage.read(_stored_path(number))])
    except NotFound as error:
        raise _unknown_version(number) from error
    return ClientArchive(body, sha256(body).hexdigest())


def _unknown_version(number: str) -> NotFound:
    return NotFound(f"client version {number[:64]!r} not found: this server has never served it")


async def store_at_start(storage: Storage) -> None:
    """Store the archive of this installation, but don't delay the start of the process for long. Log why it fails."""
    try:
        async with asyncio.timeout(_STORING_TIMEOUT_S):
            await store_installed(storage)
    except (NotFound, Unavailable, TimeoutError) as error:
        log.warning("client_archive_not_stored", error=str(error) or "no response in time")


async def store_installed(storage: Storage) -> None:
    """Store the archive of a wheel, unless its version is stored. Raises NotFound and Unavailable."""
    path = _stored_path(find_version())
    if _CHECKOUT.is_file() or await _exists(storage, path):
        return
    archive = await read_installed()
    async with storage.open_writer(path) as file:
        await file.write(archive.body)
    log.info("client_archive_stored", path=path, sha256=archive.sha256)


async def _exists(storage: Storage, path: str) -> bool:
    try:
        await storage.size(path)
    except NotFound:
        return False
    return True


def _stored_path(number: str) -> str:
    return f"client/{number}.pyz"


ROUTES: Final = (
    Route("GET", "/client.pyz", download_client, None, Operation(
        "download_client", "Download the command line for CI jobs", with_etag(BINARY), errors=("not_found",),
        description="A single file that requires only Python 3.10 or newer.",
    )),
    Route("GET", "/client.pyz.sha256", get_client_sha256, None, Operation(
        "get_client_sha256", "Get the SHA-256 of the command line for CI jobs", with_etag("text/plain"),
        errors=("not_found",), description="In the format of `sha256sum --check`.",
    )),
    Route("GET", "/client/{version}.pyz", download_client_version, None, Operation(
        "download_client_version", "Download one version of the command line for CI jobs", with_etag(BINARY),
        errors=("not_found",),
        description="The server stores each of its versions once, so that an upgrade changes no file that a job uses.",
    )),
    Route("GET", "/client/{version}.pyz.sha256", get_client_version_sha256, None, Operation(
        "get_client_version_sha256", "Get the SHA-256 of one version of the command line for CI jobs",
        with_etag("text/plain"), errors=("not_found",), description="In the format of `sha256sum --check`.",
    )),
)  # fmt: skip
