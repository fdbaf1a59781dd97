"""The table of error codes, and the conversion of exceptions to error responses."""

from typing import Final, NamedTuple

from aiohttp import web

from service.api.http.responses import reply_error
from service.domain import errors
from service.domain.errors import ErrorCode, ServiceError
from service.log import log


class ErrorType(NamedTuple):
    """One error code: its HTTP status, the exception that it represents, and its description in OpenAPI.

    `example` is a message of this error, and `param` its wrong parameter, field, or header.
    """

    status: int
    code: ErrorCode
    exception: type[ServiceError] | None
    description: str
    example: str
    param: str | None = None


ERROR_TYPES: Final = (
    ErrorType(
        400, "invalid_request", errors.InvalidRequest, "The request is invalid. `param` names the wrong value.",
        "limit: must be at most 1000", "limit",
    ),
    ErrorType(
        401, "unauthorized", errors.Unauthorized, "The API key is missing or invalid.",
        "Authorization: the API key is invalid, expired, or revoked",
    ),
    ErrorType(
        403, "forbidden", errors.Forbidden, "The API key doesn't have the required permission.",
        "permission webhooks:manage is required; the role viewer of this key doesn't include it",
    ),
    ErrorType(
        404, "not_found", errors.NotFound, "The object doesn't exist in this organization.", "run 'run_xyz' not found",
    ),
    ErrorType(
        405, "method_not_allowed", None, "The path doesn't support this method.",
        "this path doesn't support the method PATCH",
    ),
    ErrorType(
        409, "conflict", errors.Conflict,
        "The object's state doesn't allow this, or a request with the same Idempotency-Key is in progress.",
        "Idempotency-Key: a request with this key is in progress; retry later",
    ),
    ErrorType(
        410, "gone", errors.Gone, "The object has been deleted or has expired.",
        "the results of run 'run_xyz' have expired",
    ),
    ErrorType(
        413, "too_large", errors.TooLarge, "The request body exceeds the size limit.",
        "the request body is too large; the maximum is 10485760 bytes",
    ),
    ErrorType(
        415, "unsupported_media_type", errors.UnsupportedMediaType,
        "The media type or content encoding of the request body isn't supported.",
        "Content-Encoding 'br' is not supported. Send uncompressed JSON.",
    ),
    ErrorType(
        416, "range_not_satisfiable", errors.RangeNotSatisfiable, "The range is outside of the file.",
        "Range: not satisfiable; the file has 1024 bytes",
    ),
    ErrorType(
        422, "idempotency_mismatch", errors.IdempotencyMismatch,
        "The Idempotency-Key was already used with a different request.",
        "Idempotency-Key: already used with a different request; use a new key",
    ),
    ErrorType(
        429, "rate_limit_exceeded", errors.RateLimitExceeded,
        "Too many requests. Retry after the number of seconds in `Retry-After`.",
        "rate limit of 600 requests in 60 s exceeded; retry in 7 s",
    ),
    ErrorType(
        500, "internal_error", None, "An internal error occurred. The log has details under the request ID.",
        "an internal error occurred",
    ),
    ErrorType(
        503, "unavailable", errors.Unavailable, "The database or the file storage doesn't respond. Retry later.",
        "the database is not available; try again later",
    ),
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
