"""The OpenAPI 3.1 document, generated from the route table and the contracts; docs/openapi.json is its copy."""

import re
import sys
from functools import cache
from importlib.metadata import version
from typing import Any, Final, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter

from service.api.http.errors import ERROR_TYPES
from service.api.operations import Operation, Route
from service.api.routes import all_routes
from service.contracts.queries import StreamQuery, WaitQuery
from service.contracts.responses import Error, Page
from service.domain.errors import ErrorCode

_REF_TEMPLATE: Final = "#/components/schemas/{model}"
_MUTATIONS: Final = ("POST", "PUT", "PATCH", "DELETE")
_PATH_VARIABLE: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
# Many validators don't support this character class. The replacement is equivalent for ASCII text.
_NO_CONTROL: Final = rb"[^\\p{C}]"
_NO_CONTROL_ASCII: Final = rb"[^\\x00-\\x1f\\x7f-\\x9f]"
_DESCRIPTIONS: Final = {
    200: "Success",
    201: "Created",
    202: "Accepted",
    204: "Success without content",
    206: "The requested range of the file",
    304: "Not modified: the client's version, given in If-None-Match, is current",
    307: "Redirect to a presigned URL of the file",
    503: "The service isn't ready for queries",
}
_ERRORS: Final = {error.code: error for error in ERROR_TYPES}
_EVERY_OPERATION: Final[tuple[ErrorCode, ...]] = ("internal_error",)
_AUTHENTICATED: Final[tuple[ErrorCode, ...]] = (
    "invalid_request", "unauthorized", "forbidden", "rate_limit_exceeded", "unavailable",
)  # fmt: skip
_MUTATION: Final[tuple[ErrorCode, ...]] = ("conflict", "idempotency_mismatch")
_JSON_BODY: Final[tuple[ErrorCode, ...]] = ("too_large", "unsupported_media_type")


def _response_header(description: str, type_: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": type_}}


def _request_header(name: str, description: str, schema: dict[str, Any] | None = None, **extra: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}, **extra}


_COMMON_HEADERS: Final = {"X-Request-Id": _response_header("ID of the request in the log")}
_RATE_LIMIT_HEADERS: Final = {
    "X-RateLimit-Limit": _response_header("Requests per window; absent if rate limits are off", "integer"),
    "X-RateLimit-Remaining": _response_header("Remaining requests in the window", "integer"),
    "X-RateLimit-Reset": _response_header("End of the window in Unix time (seconds)", "integer"),
}
_RETRY_AFTER: Final = {"Retry-After": _response_header("Seconds to wait before the next request", "integer")}
_ETAG: Final = {"ETag": _response_header("Version of the response")}
_CONTENT_RANGE: Final = {"Content-Range": _response_header("Range of the bytes, and the size of the file")}
_LOCATION: Final = {"Location": _response_header("URL of the object")}
_LINK: Final = {"Link": _response_header('URL of the next page with `rel="next"`; absent on the last page')}
_REPLAYED: Final = {
    "Idempotent-Replayed": _response_header("`true` if this is the stored response to an earlier request")
}
_HEADERS_OF_STATUS: Final = {
    202: _RETRY_AFTER, 206: _CONTENT_RANGE, 416: _CONTENT_RANGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER,
}  # fmt: skip
_CONDITIONAL: Final = [
    _request_header(
        "If-None-Match", "One or more values of `ETag`, separated by commas: 304 if one of them is the current version"
    )
]
_RANGED: Final = [
    _request_header("Range", "One range of bytes; several ranges return the complete file", example="bytes=0-1023"),
    _request_header("If-Range", "The `ETag` that the range requires; another version returns the complete file"),
]
_IDEMPOTENT: Final = [
    _request_header(
        "Idempotency-Key",
        "A repeated request of the same API key, with the same value and body, returns the first response for 24 hours",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
    )
]
# The headers that are alternatives to a query parameter.
_ALTERNATIVES: Final[dict[type[BaseModel] | None, list[dict[str, Any]]]] = {
    WaitQuery: [
        _request_header(
            "Prefer", "`wait=n` (RFC 7240). The query parameter `wait` takes precedence.", example="wait=30"
        )
    ],
    StreamQuery: [
        _request_header(
            "Last-Event-ID",
            "The last `id` that the stream sent, or the ID of an event. Takes precedence over the query parameter.",
        )
    ],
}


@cache
def document() -> bytes:
    """Return the document as JSON."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in all_routes():
        path = _PATH_VARIABLE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    body = {
        "openapi": "3.1.0",
        "info": {
            "title": "Results API",
            "version": version("zof-results"),
            "description": "Stores the outcome of every case of validation runs and serves queries about them.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "zof_…"}},
        },
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).replace(_NO_CONTROL, _NO_CONTROL_ASCII) + b"\n"


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    operation = route.operation
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        "tags": [route.path.removeprefix("/v1").split("/")[1]],
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
        "security": [{"key": []}] if route.permission else [],
    }
    permission = f"Requires the permission `{route.permission}`." if route.permission else ""
    if description := " ".join(filter(None, (operation.description, permission))):
        described["description"] = description
    if route.permission:
        described["x-permission"] = route.permission
    if operation.body or operation.media_types:
        described["requestBody"] = {"required": True, "content": _request_content(operation, schemas)}
    return described


def _parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PATH_VARIABLE.findall(route.path)
    ]
    query = _query_parameters(route.operation.query, schemas) if route.operation.query else []
    return path + query + _header_parameters(route)


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    conditional = _CONDITIONAL if 304 in route.operation.responses else []
    ranged = _RANGED if 206 in route.operation.responses else []
    idempotent = _IDEMPOTENT if route.method in _MUTATIONS else []
    return [*conditional, *ranged, *_ALTERNATIVES.get(route.operation.query, []), *idempotent]


def _query_parameters(model: type[BaseModel], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _schema(model, schemas, inline=True)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _without_null(value)}
        | ({"description": value["description"]} if "description" in value else {})
        for name, value in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query parameter, which can be absent but not null."""
    rest = {name: value for name, value in schema.items() if name not in ("title", "description")}
    options = [option for option in rest.pop("anyOf", ()) if option.get("type") != "null"]
    if rest.get("default", ...) is None:
        del rest["default"]
    return {**options[0], **rest} if len(options) == 1 else rest | ({"anyOf": options} if options else {})


def _request_content(operation: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    if operation.body:
        return {"application/json": {"schema": _schema(operation.body, schemas)}}
    return {media_type: {} for media_type in operation.media_types}


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    headers = _COMMON_HEADERS | (_RATE_LIMIT_HEADERS if route.permission else {})
    successes = {
        str(status): _response(_DESCRIPTIONS[status], headers | _success_headers(route, status), content, schemas)
        for status, content in route.operation.responses.items()
    }
    failures = {
        str(error.status): _response(
            error.description, headers | _HEADERS_OF_STATUS.get(error.status, {}), Error, schemas
        )
        for error in sorted((_ERRORS[code] for code in _error_codes(route)), key=lambda error: error.status)
        if error.status not in route.operation.responses
    }
    return successes | failures


def _error_codes(route: Route) -> set[ErrorCode]:
    authenticated = _AUTHENTICATED if route.permission else ()
    mutation = _MUTATION if route.method in _MUTATIONS else ()
    json_body = _JSON_BODY if route.operation.body else ()
    return {*_EVERY_OPERATION, *authenticated, *mutation, *json_body, *route.operation.errors}


def _response(description: str, headers: dict[str, Any], content: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "headers": headers} | _content(content, schemas)


def _success_headers(route: Route, status: int) -> dict[str, Any]:
    """Return the headers of a response in addition to those of every response."""
    responses = route.operation.responses
    etag = _ETAG if 304 in responses and status != 307 else {}
    link = _LINK if get_origin(responses[status]) is Page else {}
    location = _LOCATION if status in (201, 307) or (status == 202 and route.operation.has_location) else {}
    replayed = _REPLAYED if route.method in _MUTATIONS else {}
    return etag | link | location | replayed | _HEADERS_OF_STATUS.get(status, {})


def _content(content: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if content is None:
        return {}
    if isinstance(content, str):
        return {"content": {content: {"schema": {"type": "string"}}}}
    return {"content": {"application/json": {"schema": _schema(content, schemas)}}}


def _schema(model: Any, schemas: dict[str, Any], *, inline: bool = False) -> dict[str, Any]:
    """Add the schema of the model to `schemas` and return a reference to it, or return the schema if `inline`."""
    schema = TypeAdapter(model).json_schema(ref_template=_REF_TEMPLATE, mode="validation")
    schemas.update(schema.pop("$defs", {}))
    if inline or "$ref" in schema:
        return schema
    name = f"PageOf{get_args(model)[0].__name__}" if get_origin(model) is Page else model.__name__
    schemas[name] = schema | {"title": name}
    return {"$ref": _REF_TEMPLATE.format(model=name)}


if __name__ == "__main__":
    sys.stdout.buffer.write(document())
