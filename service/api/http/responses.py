"""Answers: JSON, pages of a list, and errors in the one shape that they all have."""

from hashlib import blake2b
from typing import Any, Final

import orjson
from aiohttp import web

from service.domain.texts import replace_unstorable

REQUEST_ID: Final = web.RequestKey("request_id", str)
NEXT_CURSOR: Final = web.ResponseKey("next_cursor", str)
SERVER: Final = "zof-results"  # and not, as aiohttp would, what it is made of in which version
_JSON: Final = "application/json"


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """The body as JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=_JSON)


def compact(json: str) -> bytes:
    """JSON that PostgreSQL has written, without the spaces that it puts into some of it."""
    return orjson.dumps(orjson.loads(json))


def reply_json(json: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON that PostgreSQL has written."""
    return web.Response(body=compact(json), status=status, headers=headers, content_type=_JSON)


def reply_with_etag(json: str) -> web.Response:
    """One thing as PostgreSQL has written it, with a tag by which a client may ask whether it has changed."""
    body = compact(json)
    tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
    return web.Response(body=body, content_type=_JSON, headers={"ETag": tag})


def reply_page(data: str | bytes, next_cursor: str | None) -> web.Response:
    """A page of a list whose items are JSON already."""
    return reply_list(orjson.Fragment(data), next_cursor)


def reply_list(items: list[Any] | orjson.Fragment, next_cursor: str | None) -> web.Response:
    """A page of a list."""
    page = {"data": items, "has_more": next_cursor is not None, "next_cursor": next_cursor}
    return _with_next(reply(page), next_cursor)


def reply_error(
    request: web.BaseRequest, status: int, code: str, message: str, param: str | None = None
) -> web.Response:
    """What went wrong, for machines and for people. What they repeat of the request need not be text."""
    error = {"code": code, "message": message} | ({"param": param} if param is not None else {})
    error = replace_unstorable(error)
    return reply({"error": error, "request_id": request[REQUEST_ID]}, status)


def _with_next(response: web.Response, next_cursor: str | None) -> web.Response:
    """Leaves the cursor for the Link header, which needs the request."""
    if next_cursor is not None:
        response[NEXT_CURSOR] = next_cursor
    return response
