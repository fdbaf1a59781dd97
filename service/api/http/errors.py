"""Which answer an error becomes: status, code, message, headers."""

from typing import Final

from aiohttp import web

from service.api.http.responses import reply_error
from service.domain import errors
from service.log import log

_ANSWERS: Final[dict[type[errors.ServiceError], tuple[int, str]]] = {
    errors.InvalidRequest: (400, "invalid_request"),
    errors.Unauthorized: (401, "unauthorized"),
    errors.Forbidden: (403, "forbidden"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.Gone: (410, "gone"),
    errors.TooLarge: (413, "too_large"),
    errors.UnsupportedMediaType: (415, "unsupported_media_type"),
    errors.RangeNotSatisfiable: (416, "range_not_satisfiable"),
    errors.IdempotencyMismatch: (422, "idempotency_mismatch"),
    errors.RateLimitExceeded: (429, "rate_limit_exceeded"),
    errors.Unavailable: (503, "unavailable"),
}
_OF_AIOHTTP: Final = {
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    413: ("too_large", "the body is too large: at most {limit} bytes are taken"),
}


def error_response(request: web.Request, error: errors.ServiceError) -> web.Response:
    """The answer to an error of ours."""
    status, code = _ANSWERS.get(type(error), (500, "internal_error"))
    if status == 500:
        log.error("error_without_an_answer", exc_info=error)
        return internal_error_response(request)
    response = reply_error(request, status, code, str(error), getattr(error, "param", None))
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Unavailable | errors.RateLimitExceeded):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"  # RFC 9110, 14.4
    return response


def internal_error_response(request: web.Request) -> web.Response:
    """The answer to what nobody expected; the log has the rest."""
    return reply_error(request, 500, "internal_error", "something went wrong on our side")


def aiohttp_error_response(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """The router's own verdicts in our shape; redirects stay what they are."""
    if error.status < 400:
        raise error
    code, message = _OF_AIOHTTP.get(error.status, ("invalid_request", error.reason))
    response = reply_error(request, error.status, code, message.replace("{limit}", str(request.client_max_size)))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
