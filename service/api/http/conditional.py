"""Conditional requests: the evaluation of If-None-Match (RFC 9110, section 13.1.2)."""

from typing import Final

from aiohttp import web

_ANY: Final = "*"


def is_not_modified(request: web.Request, etag: str) -> bool:
    """Return whether the client has the version that `etag` (a header value) identifies, by weak comparison."""
    opaque_tag = etag.removeprefix("W/").strip('"')
    return any(known.value in (opaque_tag, _ANY) for known in request.if_none_match or ())
