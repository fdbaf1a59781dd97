"""Answers with a file out of storage: whole or a range of it, unless the client has it already."""

import re
from typing import Final, NamedTuple
from urllib.parse import quote

from aiohttp import web

from service.api.http.responses import REQUEST_ID
from service.domain.errors import RangeNotSatisfiable
from service.log import log
from service.storage import Storage

_FALLBACK: Final = "_"
_RANGE: Final = re.compile(r"bytes=(?!-$)(\d{0,99})-(\d{0,99})", re.ASCII | re.IGNORECASE)


class Download(NamedTuple):
    """A file and what is said of it."""

    path: str
    name: str
    content_type: str
    size: int
    sha256: bytes | None


async def send_file(request: web.Request, storage: Storage, file: Download) -> web.StreamResponse:
    """Sends the file. Raises NotFound where storage has lost it, before anything is sent."""
    headers = _headers(request, file)
    if _is_known(request, headers.get("ETag")):
        return web.Response(status=304, headers=headers)
    part = _wanted(request, file.size, headers.get("ETag"))
    start, end = part or (0, file.size)
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    response.content_length = end - start
    if part:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    chunks = await storage.read(file.path, start, end)
    await response.prepare(request)
    try:
        if request.method != "HEAD":
            async for chunk in chunks:
                await response.write(chunk)
    except Exception as error:  # the status has been sent: a broken connection is all that can still say so
        log.warning("download_broken", path=file.path, error=repr(error))
        if request.transport is not None:
            request.transport.abort()
    return response


def _headers(request: web.Request, file: Download) -> dict[str, str]:
    headers = {
        "Content-Type": file.content_type,
        "Content-Disposition": disposition(file.name),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "X-Request-Id": request[REQUEST_ID],
    }
    return headers | ({"ETag": f'"{file.sha256.hex()}"'} if file.sha256 else {})


def disposition(name: str) -> str:
    """The file's name as RFC 6266 has it: the last part is for clients that know more than ASCII."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else _FALLBACK for letter in name)
    plain = plain.replace("\\", _FALLBACK).replace('"', _FALLBACK)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _is_known(request: web.Request, etag: str | None) -> bool:
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    return etag is not None and (etag in known or "*" in known)


def _wanted(request: web.Request, size: int, etag: str | None) -> tuple[int, int] | None:
    """Which part, from and to before; None for all, which several ranges and one of another version come to as well."""
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
