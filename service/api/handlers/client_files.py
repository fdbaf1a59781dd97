"""The client archives and their SHA-256 over HTTP."""

from typing import Final

from aiohttp import web

from service.api.client_archives import ClientArchive, read_installed, read_version
from service.api.resources import RESOURCES
from service.domain.client_archive import ARCHIVE_NAME

_SERVED_NAME: Final = "client.pyz"


async def download_client(_: web.Request) -> web.Response:
    """Return the archive of this version."""
    return _download(await read_installed())


async def get_client_sha256(_: web.Request) -> web.Response:
    """Return the SHA-256 of the archive of this version in the format of sha256sum."""
    return _checksum(await read_installed())


async def download_client_version(request: web.Request) -> web.Response:
    """Return the archive of a version."""
    return _download(await _read_version(request))


async def get_client_version_sha256(request: web.Request) -> web.Response:
    """Return the SHA-256 of the archive of a version in the format of sha256sum."""
    return _checksum(await _read_version(request))


async def _read_version(request: web.Request) -> ClientArchive:
    return await read_version(request.app[RESOURCES].storage, request.match_info["version"])


def _download(archive: ClientArchive) -> web.Response:
    headers = {"ETag": f'"{archive.sha256}"', "Content-Disposition": f'attachment; filename="{ARCHIVE_NAME}"'}
    return web.Response(body=archive.body, content_type="application/octet-stream", headers=headers)


def _checksum(archive: ClientArchive) -> web.Response:
    line = f"{archive.sha256}  {_SERVED_NAME}\n"
    return web.Response(body=line.encode(), content_type="text/plain", headers={"ETag": f'"{archive.sha256}.sha256"'})
