"""What surrounds every request: its id, and one place where errors become answers."""

import re
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web

from service.api.callers import Handler
from service.api.failures import reply_failure, reply_fault, reply_verdict
from service.api.rate_limits import STANDING, standing_headers
from service.api.replies import REQUEST_ID
from service.domain.errors import ServiceError
from service.log import log

_SANE_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request an id and answers whatever its handler raises."""
    request_id = _request_id(request)
    request[REQUEST_ID] = request_id
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            response = await handler(request)
        except ServiceError as error:
            response = reply_failure(request, error)
        except web.HTTPException as error:
            response = reply_verdict(request, error)
        except Exception:
            log.exception("request_failed", method=request.method, path=request.path)
            response = reply_fault(request)
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries, streams too: the request's id, and what is left of a rate limit."""
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    if STANDING in request:
        response.headers.update(standing_headers(request[STANDING]))


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _SANE_ID.fullmatch(given) else uuid4().hex
