"""The table of error codes, and the conversion of exceptions to error reports and responses."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web

from service.domain import errors
from service.domain.errors import ErrorCode, InvalidRequest, ServiceError
from service.http.responses import reply_error
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
        "permission webhooks:manage is required; the role viewer doesn't include it",
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
        503, "unavailable", errors.Unavailable,
        "The database or the file storage doesn't respond, or quarantine globs take too long. Retry later.",
        "the database is not available; try again later",
    ),
)  # fmt: skip
_BY_EXCEPTION: Final = {error.exception: error for error in ERROR_TYPES if error.exception}
_BY_STATUS: Final = {error.status: error for error in ERROR_TYPES}
_ROUTER_MESSAGES: Final = {
    404: "no resource exists at this path; /docs lists the paths of the API, which begin with /v1",
    405: "this path doesn't support the method {method}",
    413: "the request body is too large; the maximum is {limit} bytes",
}


class ErrorReport(NamedTuple):
    """An error as the client sees it, in JSON or as a page, without internals."""

    status: int
    code: ErrorCode
    message: str
    param: str | None
    headers: Mapping[str, str]


def report_error(request: web.Request, error: Exception) -> ErrorReport:
    """Return the report of an exception of a handler, and log an unexpected one. Raise redirects unchanged."""
    if isinstance(error, ServiceError):
        return _report_service_error(error)
    if isinstance(error, web.HTTPException):
        return _report_aiohttp_error(request, error)
    if isinstance(error, ConnectionError) and _is_disconnected(request):
        return _report_service_error(InvalidRequest("the connection was closed before the response"))
    log.exception("request_failed", method=request.method, path=request.path, exc_info=error)
    return _internal_error()


def error_response(request: web.Request, error: Exception) -> web.Response:
    """Return the JSON response for an exception of a handler."""
    report = report_error(request, error)
    response = reply_error(request, report.status, report.code, report.message, report.param)
    response.headers.update(report.headers)
    return response


def _report_service_error(error: ServiceError) -> ErrorReport:
    error_type = _BY_EXCEPTION.get(type(error))
    if error_type is None:
        log.error("unmapped_error", exc_info=error)
        return _internal_error()
    if isinstance(error, errors.Unavailable):
        log.warning("request_unavailable", error=str(error), cause=_first_line(error.__cause__))
    param = error.param if isinstance(error, InvalidRequest) else None
    return ErrorReport(error_type.status, error_type.code, str(error), param, _headers(error))


def _headers(error: ServiceError) -> Mapping[str, str]:
    if isinstance(error, errors.Unauthorized):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, errors.Unavailable | errors.RateLimitExceeded):
        return {"Retry-After": str(error.retry_after_s)}
    if isinstance(error, errors.RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}  # RFC 9110, section 14.4
    return {}


def _first_line(cause: BaseException | None) -> str | None:
    """Return the first line of a cause, whose other lines are details for programmers."""
    return None if cause is None else (str(cause) or repr(cause)).splitlines()[0]


def _internal_error() -> ErrorReport:
    """Return the report of an unexpected exception, without details."""
    return ErrorReport(500, "internal_error", "an internal error occurred", None, {})


def _report_aiohttp_error(request: web.Request, error: web.HTTPException) -> ErrorReport:
    """Return the report of an exception of aiohttp, such as an unknown path. Raise redirects unchanged."""
    if error.status < 400:
        raise error
    known = _BY_STATUS.get(error.status)
    message = _ROUTER_MESSAGES.get(error.status, error.reason)
    message = message.replace("{limit}", str(request.client_max_size)).replace("{method}", request.method)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return ErrorReport(error.status, known.code if known else "invalid_request", message, None, headers)


def _is_disconnected(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()
