"""Responses of operations, their headers, and the error responses that all operations share."""

from typing import Any, Final, get_origin

from service.api.openapi.components import OpenApiComponents
from service.api.openapi.parameters import is_mutation
from service.contracts.responses import Error
from service.domain.errors import ErrorCode
from service.http.errors import ERROR_TYPES, ErrorType
from service.http.routes import BINARY, Route

_DESCRIPTIONS: Final = {
    200: "Success",
    201: "Created",
    202: "Accepted",
    204: "Success without content",
    206: "The requested range of the file",
    304: "Not modified: the client's version, given in If-None-Match, is current",
    307: "Redirect to a presigned URL of the file",
    400: "The request is invalid, or the token isn't accepted",
    503: "The service isn't ready for queries",
}
_ERRORS: Final = {error.code: error for error in ERROR_TYPES}
_EVERY_OPERATION: Final[tuple[ErrorCode, ...]] = ("internal_error",)
_AUTHENTICATED: Final[tuple[ErrorCode, ...]] = (
    "invalid_request", "unauthorized", "forbidden", "rate_limit_exceeded", "unavailable",
)  # fmt: skip
_MUTATION: Final[tuple[ErrorCode, ...]] = ("conflict", "idempotency_mismatch")
_JSON_BODY: Final[tuple[ErrorCode, ...]] = ("too_large", "unsupported_media_type")
_EXAMPLE_REQUEST_ID: Final = "0b6f3c1e5a7d4f0c9d2e8a1b4c6d7e8f"

_TEXT: Final = {"type": "string"}
_INTEGER: Final = {"type": "integer"}
_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-Id": {"description": "ID of the request in the log", "schema": _TEXT},
    "X-RateLimit-Limit": {
        "description": "Requests per window; absent if rate limits are off or don't apply", "schema": _INTEGER,
    },
    "X-RateLimit-Remaining": {"description": "Remaining requests in the window", "schema": _INTEGER},
    "X-RateLimit-Reset": {"description": "End of the window in Unix time (seconds)", "schema": _INTEGER},
    "Retry-After": {"description": "Seconds to wait before the next request", "schema": _INTEGER},
    "ETag": {"description": "Version of the response", "schema": _TEXT},
    "Content-Range": {"description": "Range of the bytes, and the size of the file", "schema": _TEXT},
    "Location": {"description": "URL of the object", "schema": _TEXT},
    "Link": {"description": 'URL of the next page with `rel="next"`; absent on the last page', "schema": _TEXT},
    "Idempotent-Replayed": {
        "description": "`true` if this is the stored response to an earlier request", "schema": _TEXT,
    },
}  # fmt: skip
_COMMON: Final = ("X-Request-Id",)
_RATE_LIMIT: Final = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_OF_STATUS: Final[dict[int, tuple[str, ...]]] = {
    202: ("Retry-After",), 206: ("Content-Range",), 416: ("Content-Range",), 429: ("Retry-After",),
    503: ("Retry-After",),
}  # fmt: skip


def responses(route: Route, components: OpenApiComponents) -> dict[str, Any]:
    """Return the responses of a route by status. Error responses are references."""
    successes = {
        str(status): _success(route, status, content, components)
        for status, content in route.operation.responses.items()
    }
    errors = sorted((_ERRORS[code] for code in _error_codes(route)), key=lambda error: error.status)
    failures = {
        str(error.status): _failure(error, components)
        for error in errors
        if error.status not in route.operation.responses
    }
    return successes | failures


def _error_codes(route: Route) -> set[ErrorCode]:
    authenticated = _AUTHENTICATED if route.permission else ()
    mutation = _MUTATION if is_mutation(route) else ()
    json_body = _JSON_BODY if route.operation.body else ()
    return {*_EVERY_OPERATION, *authenticated, *mutation, *json_body, *route.operation.errors}


def _failure(error: ErrorType, components: OpenApiComponents) -> dict[str, Any]:
    detail = {"code": error.code, "message": error.example} | ({"param": error.param} if error.param else {})
    content = {
        "schema": components.add_response_schema(Error),
        "example": {"error": detail, "request_id": _EXAMPLE_REQUEST_ID},
    }
    headers = _header_references((*_COMMON, *_RATE_LIMIT, *_OF_STATUS.get(error.status, ())), components)
    response = {"description": error.description, "headers": headers, "content": {"application/json": content}}
    return components.add_response(error.code, response)


def _success(route: Route, status: int, content: Any, components: OpenApiComponents) -> dict[str, Any]:
    names = (*_COMMON, *(_RATE_LIMIT if route.permission else ()), *_success_headers(route, status))
    response = {"description": _DESCRIPTIONS[status], "headers": _header_references(names, components)}
    return response | _content(content, components)


def _success_headers(route: Route, status: int) -> tuple[str, ...]:
    """Return the names of the headers that not every response has."""
    described = route.operation.responses
    has = {
        "ETag": 304 in described and status != 307,
        "Link": _is_page(described[status]),
        "Location": status in (201, 307) or (status == 202 and route.operation.has_location),
        "Idempotent-Replayed": is_mutation(route),
    }
    return (*(name for name, applies in has.items() if applies), *_OF_STATUS.get(status, ()))


def _is_page(content: Any) -> bool:
    return "next_cursor" in getattr(get_origin(content) or content, "__annotations__", ())


def _header_references(names: tuple[str, ...], components: OpenApiComponents) -> dict[str, Any]:
    return {name: components.add_header(name, _HEADERS[name]) for name in names}


def _content(content: Any, components: OpenApiComponents) -> dict[str, Any]:
    if content is None:
        return {}
    if isinstance(content, str):
        schema = {"type": "string", "format": "binary"} if content == BINARY else {"type": "string"}
        return {"content": {content: {"schema": schema}}}
    return {"content": {"application/json": {"schema": components.add_response_schema(content)}}}
