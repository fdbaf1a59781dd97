"""Responses: JSON objects, pages of lists, errors, ETags with 304, and compression with gzip or Zstandard."""

import gzip
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import orjson
import zstandard
from aiohttp import web

from service.database.pages import Item, ListPage
from service.domain.errors import ErrorCode
from service.domain.texts import clean_json

REQUEST_ID: Final = web.RequestKey("request_id", str)
NEXT_CURSOR: Final = web.ResponseKey("next_cursor", str)
SERVER: Final = "zof-results"  # aiohttp's default would reveal the versions of Python and aiohttp

_JSON: Final = "application/json"
_COMPRESSIBLE: Final = (_JSON, "text/plain", "text/html")
_MIN_BYTES: Final = 1_000
_GZIP_LEVEL: Final = 1
_ZSTD: Final = zstandard.ZstdCompressor(level=1)
_ANY_VERSION: Final = "*"


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return the body as a JSON response."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=_JSON)


def add_etag(response: web.Response) -> web.Response:
    """Add a weak ETag to a JSON response."""
    if not isinstance(response.body, bytes):
        raise TypeError("only a response with bytes can have an ETag of its body")
    response.headers["ETag"] = f'W/"{blake2b(response.body, digest_size=12).hexdigest()}"'
    return response


def reply_page(page: ListPage[Item], write: Callable[[Item], object] | None = None) -> web.Response:
    """Return a page of a list: `data` with its objects, `has_more`, and `next_cursor`.

    `write` returns the public object of an item. Without `write`, the items are public objects.
    """
    return reply_list(list(map(write, page.items) if write else page.items), page.next_cursor)


def reply_list(items: list[Any] | orjson.Fragment, next_cursor: str | None, **fields: Any) -> web.Response:
    """Return a page of a list, with further fields about the complete list.

    The signal handler `add_headers` adds the Link header, because its URL depends on the request.
    """
    response = reply({**fields, "data": items, "has_more": next_cursor is not None, "next_cursor": next_cursor})
    if next_cursor is not None:
        response[NEXT_CURSOR] = next_cursor
    return response


def reply_error(
    request: web.BaseRequest, status: int, code: ErrorCode, message: str, param: str | None = None
) -> web.Response:
    """Return the common error body. Replace characters of the request that aren't valid text."""
    error = {"code": code, "message": message} | ({"param": param} if param is not None else {})
    return reply({"error": clean_json(error)[0], "request_id": request[REQUEST_ID]}, status)


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


def is_not_modified(request: web.Request, etag: str) -> bool:
    """Return whether the client has the version that `etag` (a header value) identifies, by weak comparison."""
    opaque_tag = etag.removeprefix("W/").strip('"')
    return any(known.value in (opaque_tag, _ANY_VERSION) for known in request.if_none_match or ())


def _compress(response: web.Response, body: bytes, accepted: set[str]) -> None:
    if "zstd" in accepted:
        response.body, response.headers["Content-Encoding"] = _ZSTD.compress(body), "zstd"
    elif "gzip" in accepted:
        response.body, response.headers["Content-Encoding"] = gzip.compress(body, _GZIP_LEVEL, mtime=0), "gzip"


def accepted_encodings(request: web.Request) -> set[str]:
    """Return the content encodings that the client accepts; q=0 means that it doesn't."""
    return {encoding for encoding, weight in accepted(request, "Accept-Encoding").items() if weight > 0}


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
