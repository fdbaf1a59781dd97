"""The OpenAPI 3.1 document, made from routes, operations and contracts; docs/openapi.json is its copy."""

import re
import sys
from functools import cache
from importlib.metadata import version
from typing import Any, Final, get_args, get_origin

import orjson
from pydantic import BaseModel, TypeAdapter

from service.api.operations import OPERATIONS, Operation
from service.api.routes import Route, all_routes
from service.contracts.queries import StreamQuery, WaitQuery
from service.contracts.responses import Error, Page

_TEMPLATE: Final = "#/components/schemas/{model}"
_MUTATIONS: Final = ("POST", "PUT", "PATCH", "DELETE")
_VARIABLE: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
# A class of characters that many validators don't know, and what it comes to for most texts.
_NO_CONTROL: Final = rb"[^\\p{C}]"
_NO_CONTROL_ASCII: Final = rb"[^\\x00-\\x1f\\x7f-\\x9f]"
_ERRORS: Final = {
    400: "A parameter is wrong; `param` names it",
    401: "There is no valid key",
    403: "The key does not permit this",
    404: "There is no such thing in this organization",
    409: "Not possible now, or a request with this Idempotency-Key is under way",
    410: "It was there and is not any more",
    413: "The body is too large",
    415: "The body is of a type that is not taken",
    416: "The file has no such bytes",
    422: "The Idempotency-Key was used before with another request",
    429: "Too many requests; Retry-After says when the next one is taken",
    500: "Something went wrong on our side",
    503: "The database or the file storage does not answer; try again",
}
_MEANINGS: Final = {
    200: "Done",
    201: "Made",
    202: "Accepted",
    204: "Done",
    206: "A part",
    304: "What the caller has is right still",
    307: "The bytes are there",
    503: "No queries can be answered now",
}
_HEADERS: Final = {
    "X-Request-Id": {"description": "Names the request in our log", "schema": {"type": "string"}},
}
_LIMIT_HEADERS: Final = {
    name: {"description": text, "schema": {"type": "integer"}}
    for name, text in {
        "X-RateLimit-Limit": "Requests in the window; absent where limits are off",
        "X-RateLimit-Remaining": "What is left of them",
        "X-RateLimit-Reset": "When the window ends, in unix seconds",
    }.items()
}
_RETRY_AFTER: Final = {
    "Retry-After": {"description": "Seconds until it is worth while to ask again", "schema": {"type": "integer"}},
}
_ETAG: Final = {
    "ETag": {"description": "Changes with what is answered", "schema": {"type": "string"}},
}
_CONTENT_RANGE: Final = {
    "Content-Range": {"description": "Which bytes these are, and of how many", "schema": {"type": "string"}},
}
_OF_STATUS: Final = {
    202: _RETRY_AFTER, 206: _CONTENT_RANGE, 416: _CONTENT_RANGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER,
}  # fmt: skip
_LOCATION: Final = {
    "Location": {"description": "Where it is", "schema": {"type": "string"}},
}
_LINK: Final = {
    "Link": {"description": 'The next page, with `rel="next"`; absent on the last', "schema": {"type": "string"}},
}
_REPLAYED: Final = {
    "Idempotent-Replayed": {
        "description": "`true` where this is the first answer again, to the same Idempotency-Key",
        "schema": {"type": "string"},
    },
}


def _header(name: str, description: str, schema: dict[str, Any] | None = None, **more: str) -> dict[str, Any]:
    """A header that a request may have."""
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}, **more}


_CONDITIONAL: Final = [
    _header(
        "If-None-Match", "An `ETag` that the caller has, or several with commas between: 304 where one is right still"
    )
]
_RANGED: Final = [
    _header("Range", "One range of bytes; several are answered with the whole", example="bytes=0-1023"),
    _header("If-Range", "The `ETag` of which a range is wanted; the whole is answered where it is another now"),
]
_REPEATABLE: Final = [
    _header(
        "Idempotency-Key",
        "The same key and request gets the first answer again, for 24 hours",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
    )
]
# What says the same as a query parameter.
_INSTEAD: Final[dict[type[BaseModel] | None, list[dict[str, Any]]]] = {
    WaitQuery: [
        _header("Prefer", "`wait=n` (RFC 7240) instead of the query parameter, which goes before it", example="wait=30")
    ],
    StreamQuery: [
        _header("Last-Event-ID", "The `id` that the stream gave last, or an event's; goes before the query parameter")
    ],
}


@cache
def document() -> bytes:
    """The document as JSON."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in all_routes():
        path = _VARIABLE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    body = {
        "openapi": "3.1.0",
        "info": {
            "title": "Results API",
            "version": version("zof-results"),
            "description": "Keeps the outcome of every validation run and answers questions about it.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "zof_…"}},
        },
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).replace(_NO_CONTROL, _NO_CONTROL_ASCII) + b"\n"


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    described = OPERATIONS[route.handler]
    named = route.handler.__name__
    operation: dict[str, Any] = {
        "operationId": named if route.path.startswith("/v1") or route.permission is None else f"{named}_unprefixed",
        "summary": (route.handler.__doc__ or "").strip(),
        "tags": [route.path.removeprefix("/v1").split("/")[1]],
        "parameters": _parameters(route, described, schemas),
        "responses": _responses(route, described, schemas),
        "security": [{"key": []}] if route.permission else [],
    }
    if route.permission:
        operation["description"] = f"Needs the permission `{route.permission}`."
        operation["x-permission"] = route.permission
    if described.body or described.takes:
        operation["requestBody"] = {"required": True, "content": _request_content(described, schemas)}
    return operation


def _parameters(route: Route, described: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _VARIABLE.findall(route.path)
    ]
    query = _query_parameters(described, schemas) if described.query else []
    return path + query + _header_parameters(route, described)


def _header_parameters(route: Route, described: Operation) -> list[dict[str, Any]]:
    conditional = _CONDITIONAL if 304 in described.answers else []
    ranged = _RANGED if 206 in described.answers else []
    repeatable = _REPEATABLE if route.method in _MUTATIONS else []
    return [*conditional, *ranged, *_INSTEAD.get(described.query, []), *repeatable]


def _query_parameters(described: Operation, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _schema(described.query, schemas, inline=True)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _without_null(value)}
        | ({"description": value["description"]} if "description" in value else {})
        for name, value in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is absent rather than null."""
    kept = {name: value for name, value in schema.items() if name not in ("title", "description")}
    options = [option for option in kept.pop("anyOf", ()) if option.get("type") != "null"]
    if kept.get("default", ...) is None:
        del kept["default"]
    return {**options[0], **kept} if len(options) == 1 else kept | ({"anyOf": options} if options else {})


def _request_content(described: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    if described.body:
        return {"application/json": {"schema": _schema(described.body, schemas)}}
    return {media_type: {} for media_type in described.takes}


def _responses(route: Route, described: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    headers = _HEADERS | (_LIMIT_HEADERS if route.permission else {})
    answers = {
        str(status): _response(_MEANINGS[status], headers | _own_headers(route, described, status), answer, schemas)
        for status, answer in described.answers.items()
    }
    always = (400, 401, 403, 429, 500, 503) if route.permission else (500,)
    of_body = (413, 415) if described.body else ()
    errors = {
        str(status): _response(_ERRORS[status], headers | _OF_STATUS.get(status, {}), Error, schemas)
        for status in sorted({*always, *of_body, *described.errors} - described.answers.keys())
    }
    return answers | errors


def _response(meaning: str, headers: dict[str, Any], answer: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    return {"description": meaning, "headers": headers} | _content(answer, schemas)


def _own_headers(route: Route, described: Operation, status: int) -> dict[str, Any]:
    """What this answer carries beyond what all do."""
    tag = _ETAG if 304 in described.answers and status != 307 else {}
    link = _LINK if get_origin(described.answers[status]) is Page else {}
    location = _LOCATION if status in (201, 307) or (status == 202 and described.located) else {}
    replayed = _REPLAYED if route.method in _MUTATIONS else {}
    return tag | link | location | replayed | _OF_STATUS.get(status, {})


def _content(answer: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, str):
        return {"content": {answer: {"schema": {"type": "string"}}}}
    return {"content": {"application/json": {"schema": _schema(answer, schemas)}}}


def _schema(model: Any, schemas: dict[str, Any], *, inline: bool = False) -> dict[str, Any]:
    """A reference to the model's schema, which is added to the others; or the schema itself."""
    made = TypeAdapter(model).json_schema(ref_template=_TEMPLATE, mode="validation")
    schemas.update(made.pop("$defs", {}))
    if inline or "$ref" in made:
        return made
    name = f"PageOf{get_args(model)[0].__name__}" if get_origin(model) is Page else model.__name__
    schemas[name] = made | {"title": name}
    return {"$ref": _TEMPLATE.format(model=name)}


if __name__ == "__main__":
    sys.stdout.buffer.write(document())
