"""Answers: JSON, pages of a list, and errors in the one shape that they all have."""

from typing import Any, Final

import orjson
from aiohttp import web

REQUEST_ID: Final = web.RequestKey("request_id", str)
_JSON: Final = "application/json"


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """The body as JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type=_JSON)


def reply_text(json: str) -> web.Response:
    """JSON that PostgreSQL has written."""
    return web.Response(body=json.encode(), content_type=_JSON)


def reply_page(data: str, next_cursor: str | None) -> web.Response:
    """A page of a list whose items PostgreSQL has written."""
    ending = f'"{next_cursor}"' if next_cursor else "null"
    more = "true" if next_cursor else "false"
    return reply_text(f'{{"data":{data},"has_more":{more},"next_cursor":{ending}}}')


def reply_list(items: list[Any], next_cursor: str | None) -> web.Response:
    """A page of a list."""
    return reply({"data": items, "has_more": next_cursor is not None, "next_cursor": next_cursor})


def reply_error(request: web.Request, status: int, code: str, message: str, param: str | None = None) -> web.Response:
    """What went wrong, for machines and for people."""
    error = {"code": code, "message": message} | ({"param": param} if param is not None else {})
    return reply({"error": error, "request_id": request[REQUEST_ID]}, status)
