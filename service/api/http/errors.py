"""The table of error codes, and the conversion of exceptions to error responses."""

from typing import Final, NamedTuple

from aiohttp import web

from service.api.http.responses import reply_error
from service.domain import errors
from service.domain.errors import ErrorCode, ServiceError
from service.log import log


class ErrorType(NamedTuple):
    """One error code: its HTTP status, the exception that it represents, and its description in OpenAPI."""

    status: int
    code: ErrorCode
    exception: type[ServiceError] | None
    description: str


ERROR_TYPES: Final = (
    ErrorType(400, "invalid_request", errors.InvalidRequest, "The request is invalid. `param` names the wrong value."),
    ErrorType(401, "unauthorized", errors.Unauthorized, "The API key is missing or invalid."),
    ErrorType(403, "forbidden", errors.Forbidden, "The API key doesn't have the required permission."),
    ErrorType(404, "not_found", errors.NotFound, "The object doesn't exist in this organization."),
    ErrorType(405, "method_not_allowed", None, "The path doesn't support this method."),
    ErrorType(
        409, "conflict", errors.Conflict,
        "The object's state doesn't allow this, or a request with the same Idempotency-Key is in progress.",
    ),
    ErrorType(410, "gone", errors.Gone, "The object has been deleted or has expired."),
    ErrorType(413, "too_large", errors.TooLarge, "The request body exceeds the size limit."),
    ErrorType(
        415, "unsupported_media_type", errors.UnsupportedMediaType,
        "The media type or content encoding of the request body isn't supported.",
    ),
    ErrorType(416, "range_not_satisfiable", errors.RangeNotSatisfiable, "The range is outside of the file."),
    ErrorType(
        422, "idempotency_mismatch", errors.IdempotencyMismatch,
        "The Idempotency-Key was already used with a different request.",
    ),
    ErrorType(
        429, "rate_limit_exceeded", errors.RateLimitExceeded,
        "Too many requests. Retry after the number of seconds in `Retry-After`.",
    ),
    ErrorType(500, "internal_error", None, "An internal error occurred. The log has details under the request ID."),
    ErrorType(503, "unavailable", errors.Unavailable, "The database or the file storage doesn't respond. Retry later."),
)  # fmt: skip
_BY_EXCEPTION: Final = {error.exception: error for error in ERROR_TYPES if error.exception}
_BY_STATUS: Final = {error.status: error for error in ERROR_TYPES}
_ROUTER_MESSAGES: Final = {
    404: "no resource exists at this path",
    405: "this path doesn't support the method {method}",
    413: "the request body is too large; the maximum is {limit} bytes",
}


def error_response(request: web.Request, error: ServiceError) -> web.Response:
    """Return the response for an exception of the service."""
    error_type = _BY_EXCEPTION.get(type(error))
    if error_type is None:
        log.error("unmapped_error", exc_info=error)
        return internal_error_response(request)
    response = reply_error(request, error_type.status, error_type.code, str(error), getattr(error, "param", None))
    if isinstance(error, errors.Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, errors.Unavailable):
        log.warning("request_unavailable", error=str(error), cause=_first_line(error.__cause__))
    if isinstance(error, errors.Unavailable | errors.RateLimitExceeded):
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.RangeNotSatisfiable):
        response.headers["Content-Range"] = f"bytes */{error.size}"  # RFC 9110, section 14.4
    return response


def _first_line(cause: BaseException | None) -> str | None:
    """Return the first line of a cause, whose other lines are details for programmers."""
    return None if cause is None else (str(cause) or repr(cause)).splitlines()[0]


def internal_error_response(request: web.Request) -> web.Response:
    """Return the response for an unexpected exception, without details."""
    return reply_error(request, 500, "internal_error", "an internal error occurred")


def aiohttp_error_response(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Return the response for an exception of aiohttp, such as an unknown path. Raise redirects unchanged."""
    if error.status < 400:
        raise error
    known = _BY_STATUS.get(error.status)
    message = _ROUTER_MESSAGES.get(error.status, error.reason)
    message = message.replace("{limit}", str(request.client_max_size)).replace("{method}", request.method)
    response = reply_error(request, error.status, known.code if known else "invalid_request", message)
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
