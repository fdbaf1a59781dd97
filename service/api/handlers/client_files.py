"""The client archive and its SHA-256 over HTTP."""

import asyncio
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
from service.domain.errors import NotFound

_PACKAGE: Final = Path(str(files("service")))
_FOLDERS: Final = (_PACKAGE / "client" / ARCHIVE_FOLDER, _PACKAGE.parent / ARCHIVE_FOLDER)  # of a wheel, of a checkout
_SERVED_NAME: Final = "client.pyz"


class ClientArchive(NamedTuple):
    """The archive and its SHA-256 in hex digits."""

    body: bytes
    sha256: str


async def download_client(_: web.Request) -> web.Response:
    """Return the archive."""
    archive = await asyncio.to_thread(_read_archive)
    headers = {"ETag": f'"{archive.sha256}"', "Content-Disposition": f'attachment; filename="{ARCHIVE_NAME}"'}
    return web.Response(body=archive.body, content_type="application/octet-stream", headers=headers)


async def get_client_sha256(_: web.Request) -> web.Response:
    """Return the SHA-256 of the archive in the format of sha256sum."""
    archive = await asyncio.to_thread(_read_archive)
    line = f"{archive.sha256}  {_SERVED_NAME}\n"
    return web.Response(body=line.encode(), content_type="text/plain", headers={"ETag": f'"{archive.sha256}.sha256"'})


def _read_archive() -> ClientArchive:
    """Read the archive of this installation. Raises NotFound if it has none."""
    for folder in _FOLDERS:
        path = folder / ARCHIVE_NAME
        if path.is_file():
            return _read(path, path.stat().st_mtime_ns)
    raise NotFound("this installation doesn't contain the client archive: run `make client` in a checkout to build it")


@lru_cache(maxsize=1)
def _read(path: Path, _mtime_ns: int) -> ClientArchive:
    body = path.read_bytes()
    return ClientArchive(body, sha256(body).hexdigest())
