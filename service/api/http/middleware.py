"""What surrounds every request: its id, one place where errors become answers, and what every answer carries."""

import re
import time
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web

from service.api.handlers.metrics import observe
from service.api.http import cors
from service.api.http.authentication import ApiHandler
from service.api.http.compression import pack
from service.api.http.errors import aiohttp_error_response, error_response, internal_error_response
from service.api.http.rate_limits import STANDING, standing_headers
from service.api.http.responses import NEXT_CURSOR, REQUEST_ID, SERVER
from service.api.server.resources import RESOURCES
from service.domain.errors import InvalidRequest, ServiceError
from service.log import log

_SANE_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


@web.middleware
async def answer(request: web.Request, handler: ApiHandler) -> web.StreamResponse:
    """Gives the request an id and answers whatever its handler raises."""
    begun = time.perf_counter()
    request_id = _request_id(request)
    request[REQUEST_ID] = request_id
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        response = pack(request, await _answer(request, handler))
    observe(request, response, begun)
    return response


async def _answer(request: web.Request, handler: ApiHandler) -> web.StreamResponse:
    try:
        return _preflight(request) or await handler(request)
    except ServiceError as error:
        return error_response(request, error)
    except web.HTTPException as error:
        return aiohttp_error_response(request, error)
    except Exception as error:
        if isinstance(error, ConnectionError) and _has_left(request):
            return error_response(request, InvalidRequest("the connection ended before the answer"))
        log.exception("request_failed", method=request.method, path=request.path)
        return internal_error_response(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries, streams too: its request's id, what is left of a rate limit, where a list goes on.

    None may be kept by whoever passes it on, unless it says so; what has a tag may be asked for anew with it.
    """
    response.headers["Server"] = SERVER
    response.headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in response.headers else "no-store")
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    if STANDING in request:
        response.headers.update(standing_headers(request[STANDING]))
    if NEXT_CURSOR in response:
        base = request.app[RESOURCES].settings.link_base
        following = request.rel_url.update_query(starting_after=response[NEXT_CURSOR])
        response.headers["Link"] = f'<{base}{following}>; rel="next"'
    cors.allow(request, response, request.app[RESOURCES].settings.allowed_origins)


def _has_left(request: web.Request) -> bool:
    """Whether nobody is there any more to be answered."""
    return request.transport is None or request.transport.is_closing()


def _preflight(request: web.Request) -> web.Response | None:
    if not cors.is_preflight(request):
        return None
    return cors.reply_preflight(request, request.app[RESOURCES].settings.allowed_origins)


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _SANE_ID.fullmatch(given) else uuid4().hex
