"""Responses on the wire: 304 for unchanged content, and compression with gzip or Zstandard."""

import gzip
from typing import Final

import zstandard
from aiohttp import web


def accepted(request: web.Request, header: str) -> dict[str, float]:
    """Return the weights of the values that the client names in the header; 0 means that it rejects a value."""
    if header not in request.headers:
        return {}
    values = [part for value in request.headers.getall(header) for part in value.split(",")]
    offers = (value.replace(" ", "").lower().partition(";q=") for value in values)
    return {name: _weight(weight) for name, _, weight in offers}


def _weight(text: str) -> float:
    try:
        return float(text or 1)
    except ValueError:
        return 0.0


_ANY: Final = "*"


def is_not_modified(request: web.Request, etag: str) -> bool:
    """Return whether the client has the version that `etag` (a header value) identifies, by weak comparison."""
    opaque_tag = etag.removeprefix("W/").strip('"')
    return any(known.value in (opaque_tag, _ANY) for known in request.if_none_match or ())


_MIN_BYTES: Final = 1_000
_GZIP_LEVEL: Final = 1
_ZSTD: Final = zstandard.ZstdCompressor(level=1)
_COMPRESSIBLE: Final = ("application/json", "text/plain", "text/html")


def encode_response(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Return the response as a 304 or compressed, if the request allows it.

    Streams and files are unchanged, because their length, digest, and ranges refer to the uncompressed bytes.
    """
    if not isinstance(response, web.Response) or response.status != 200 or not isinstance(response.body, bytes):
        return response
    etag = response.headers.get("ETag")
    if etag is not None and is_not_modified(request, etag):
        return web.Response(status=304, headers={"ETag": etag})
    if len(response.body) >= _MIN_BYTES and response.content_type in _COMPRESSIBLE:
        response.headers["Vary"] = "Accept-Encoding"
        _compress(response, response.body, accepted_encodings(request))
    return response


def _compress(response: web.Response, body: bytes, accepted: set[str]) -> None:
    if "zstd" in accepted:
        response.body, response.headers["Content-Encoding"] = _ZSTD.compress(body), "zstd"
    elif "gzip" in accepted:
        response.body, response.headers["Content-Encoding"] = gzip.compress(body, _GZIP_LEVEL, mtime=0), "gzip"


def accepted_encodings(request: web.Request) -> set[str]:
    """Return the content encodings that the client accepts; q=0 means that it doesn't."""
    return {encoding for encoding, weight in accepted(request, "Accept-Encoding").items() if weight > 0}
