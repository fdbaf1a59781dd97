"""Response bodies: JSON objects, pages of lists, and the common error body."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import orjson
from aiohttp import web

from service.database.pages import Item, ListPage
from service.domain.errors import ErrorCode
from service.domain.texts import clean_json

REQUEST_ID: Final = web.RequestKey("request_id", str)
NEXT_CURSOR: Final = web.ResponseKey("next_cursor", str)
SERVER: Final = "zof-results"  # aiohttp's default would reveal the versions of Python and aiohttp
_JSON: Final = "application/json"


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
    """Return a page of a list. `write` returns the public object of an item that isn't one itself."""
    return reply_list(list(map(write, page.items) if write else page.items), page.next_cursor)


def reply_list(items: list[Any] | orjson.Fragment, next_cursor: str | None, **fields: Any) -> web.Response:
    """Return a page of a list, with further fields about the complete list.

    The middleware adds the Link header, because its URL depends on the request.
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
