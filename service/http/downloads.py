"""Downloads of files from object storage: complete files, single byte ranges, and 304 for unchanged files."""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from aiohttp import web

from service.domain.errors import RangeNotSatisfiable
from service.http.process import RESOURCES
from service.http.responses import REQUEST_ID, is_not_modified
from service.log import log
from service.storage import Storage
from service.storage.paths import content_disposition

_LINK_LIFETIME: Final = timedelta(minutes=5)
_RANGE: Final = re.compile(r"bytes=(?!-$)(\d{0,99})-(\d{0,99})", re.ASCII | re.IGNORECASE)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Download(NamedTuple):
    """A file in object storage, or a part of it, and the metadata for the response headers."""

    path: str
    name: str
    content_type: str
    size: int
    sha256: bytes | None
    offset: int | None = None  # of a part, in bytes


async def send_or_redirect(request: web.Request, file: Download) -> web.StreamResponse:
    """Send the file or the requested range, or redirect to object storage if the settings allow this.

    A presigned URL always refers to a complete object, so a part is sent.
    """
    resources = request.app[RESOURCES]
    if resources.settings.artifacts_redirect and file.offset is None:
        url = await resources.storage.presign(file.path, _LINK_LIFETIME)
        if url is not None:
            return web.Response(status=307, headers={"Location": url, "Cache-Control": "no-store"})
    return await send_file(request, resources.storage, file)


async def send_file(
    request: web.Request, storage: Storage, file: Download, headers: Mapping[str, str] = _NO_HEADERS
) -> web.StreamResponse:
    """Send the file or the requested range. Raises NotFound, before the headers are sent, if the object is missing.

    `headers` are added to the headers of a download, or replace them.
    """
    headers = {**_headers(request, file), **headers}
    if "ETag" in headers and is_not_modified(request, headers["ETag"]):
        return web.Response(status=304, headers=headers)
    byte_range = _requested_range(request, file.size, headers.get("ETag"))
    start, end = byte_range or (0, file.size)
    response = web.StreamResponse(status=206 if byte_range else 200, headers=headers)
    response.content_length = end - start
    if byte_range:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    offset = file.offset or 0
    chunks = await storage.read(file.path, offset + start, offset + end)
    await response.prepare(request)
    try:
        if request.method != "HEAD":
            async for chunk in chunks:
                if not await _write(response, chunk):
                    break
    except Exception as error:  # the status is already sent: only an aborted connection can signal the error
        log.warning("download_aborted", path=file.path, error=repr(error))
        if request.transport is not None:
            request.transport.abort()
    return response


async def _write(response: web.StreamResponse, chunk: bytes) -> bool:
    """Write a part of the file, and return False if the client has closed the connection."""
    try:
        await response.write(chunk)
    except ConnectionError:
        return False
    return True


def _headers(request: web.Request, file: Download) -> dict[str, str]:
    headers = {
        "Content-Type": file.content_type,
        "Content-Disposition": content_disposition(file.name),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": request[REQUEST_ID],
    }
    return headers | ({"ETag": f'"{file.sha256.hex()}"'} if file.sha256 else {})


def _requested_range(request: web.Request, size: int, etag: str | None) -> tuple[int, int] | None:
    """Return the half-open range to send, or None for the complete file.

    A request with several ranges, or with an If-Range that doesn't match the ETag, receives the complete file.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or request.method != "GET" or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise RangeNotSatisfiable(size)
    return start, end
