"""How an answer travels: not at all where the client has it, compressed where that pays."""

import gzip
from typing import Final

import zstandard
from aiohttp import web

_WORTH_BYTES: Final = 1_000
_GZIP_LEVEL: Final = 1
_ZSTD: Final = zstandard.ZstdCompressor(level=1)
_COMPRESSIBLE: Final = ("application/json", "text/plain", "text/html")


def pack(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The answer as it goes out. Streams and files are left alone: their bytes are what they say they are."""
    if not isinstance(response, web.Response) or response.status != 200 or not isinstance(response.body, bytes):
        return response
    tag = response.headers.get("ETag")
    if tag is not None and _is_known(request, tag):
        return web.Response(status=304, headers={"ETag": tag})
    if len(response.body) >= _WORTH_BYTES and response.content_type in _COMPRESSIBLE:
        response.headers["Vary"] = "Accept-Encoding"
        _compress(response, response.body, _accepted(request))
    return response


def _compress(response: web.Response, body: bytes, accepted: set[str]) -> None:
    if "zstd" in accepted:
        response.body, response.headers["Content-Encoding"] = _ZSTD.compress(body), "zstd"
    elif "gzip" in accepted:
        response.body, response.headers["Content-Encoding"] = gzip.compress(body, _GZIP_LEVEL, mtime=0), "gzip"


def _accepted(request: web.Request) -> set[str]:
    """The codings that the client takes; one with q=0 is one that it does not."""
    offers = (offer.replace(" ", "").lower().partition(";q=") for offer in _listed(request, "Accept-Encoding"))
    return {coding for coding, _, weight in offers if not weight or weight.strip("0.")}


def _is_known(request: web.Request, tag: str) -> bool:
    """Whether If-None-Match names this tag; weak comparison, as RFC 9110 wants it there."""
    known = {given.strip().removeprefix("W/") for given in _listed(request, "If-None-Match")}
    return "*" in known or tag.removeprefix("W/") in known


def _listed(request: web.Request, header: str) -> list[str]:
    return [part for value in request.headers.getall(header, ()) for part in value.split(",")]
