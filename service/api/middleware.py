"""What surrounds every request: its id, and one place where errors become answers."""

import re
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web

from service.api.callers import Handler
from service.api.replies import REQUEST_ID, reply_error
from service.domain import errors
from service.log import log

_SANE_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_OF_ERRORS: Final[dict[type[errors.ServiceError], tuple[int, str]]] = {
    errors.InvalidRequest: (400, "invalid_request"),
    errors.Unauthorized: (401, "unauthorized"),
    errors.Forbidden: (403, "forbidden"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.Gone: (410, "gone"),
    errors.TooLarge: (413, "too_large"),
    errors.UnsupportedMediaType: (415, "unsupported_media_type"),
    errors.RangeNotSatisfiable: (416, "range_not_satisfiable"),
    errors.Unavailable: (503, "unavailable"),
}
_OF_AIOHTTP: Final = {
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    413: ("too_large", "the body is too large"),
}


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Gives the request an id and answers whatever its handler raises."""
    request_id = _request_id(request)
    request[REQUEST_ID] = request_id
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            response = await handler(request)
        except errors.ServiceError as error:
            response = _of_error(request, error)
        except web.HTTPException as error:
            response = _of_aiohttp(request, error)
        except Exception:
            log.exception("request_failed", method=request.method, path=request.path)
            response = reply_error(request, 500, "internal_error", "something went wrong on our side")
    if not response.prepared:
        response.headers["X-Request-Id"] = request_id
    return response


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _SANE_ID.fullmatch(given) else uuid4().hex


def _of_error(request: web.Request, error: errors.ServiceError) -> web.Response:
    status, code = _OF_ERRORS.get(type(error), (500, "internal_error"))
    if status == 500:
        log.error("error_without_an_answer", exc_info=error)
        return reply_error(request, status, code, "something went wrong on our side")
    response = reply_error(request, status, code, str(error), getattr(error, "param", None))
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Unavailable):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """The router's own verdicts, in our shape; redirects stay what they are."""
    if error.status < 400:
        raise error
    code, message = _OF_AIOHTTP.get(error.status, ("invalid_request", error.reason))
    response = reply_error(request, error.status, code, message)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
