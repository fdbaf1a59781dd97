"""Parameters of operations: variables of the path, query parameters, and request headers."""

import re
from typing import Any, Final

from pydantic import BaseModel

from service.api.openapi.components import OpenApiComponents
from service.contracts.queries import WaitQuery
from service.events.contract import StreamQuery
from service.http.routes import Route

_MUTATIONS: Final = ("POST", "PUT", "PATCH", "DELETE")
_PATH_VARIABLE: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_OBJECT_NAMES: Final = {"api-keys": "API key", "docs": "asset"}  # of path segments whose singular isn't the name


def _header(name: str, description: str, schema: dict[str, Any] | None = None, **extra: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema or {"type": "string"}, **extra}


_CONDITIONAL: Final = (
    _header(
        "If-None-Match", "One or more values of `ETag`, separated by commas: 304 if one of them is the current version"
    ),
)
_RANGED: Final = (
    _header("Range", "One range of bytes; several ranges return the complete file", example="bytes=0-1023"),
    _header("If-Range", "The `ETag` that the range requires; another version returns the complete file"),
)
_IDEMPOTENT: Final = (
    _header(
        "Idempotency-Key",
        "A repeated request of the same API key or CI job, with the same value and body, returns the first response for"
        " 24 hours",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"},
    ),
)
# The headers that are alternatives to a query parameter.
_ALTERNATIVES: Final[dict[type[BaseModel] | None, tuple[dict[str, Any], ...]]] = {
    WaitQuery: (
        _header("Prefer", "`wait=n` (RFC 7240). The query parameter `wait` takes precedence.", example="wait=30"),
    ),
    StreamQuery: (
        _header(
            "Last-Event-ID",
            "The last `id` that the stream sent, or the ID of an event. Takes precedence over the query parameter.",
        ),
    ),
}


def path_template(path: str) -> str:
    """Return the path without the patterns of its variables."""
    return _PATH_VARIABLE.sub(r"{\1}", path)


def is_mutation(route: Route) -> bool:
    """Return whether the route accepts an Idempotency-Key."""
    return route.method in _MUTATIONS and route.operation.repeatable


def parameters(route: Route, components: OpenApiComponents) -> list[dict[str, Any]]:
    """Return the parameters of a route. Query parameters and headers are references."""
    path = [_path_parameter(route.path, match) for match in _PATH_VARIABLE.finditer(route.path)]
    query = _query_parameters(route.operation.query, components) if route.operation.query else []
    headers = [components.add_parameter(header["name"], header) for header in _header_parameters(route)]
    return path + query + headers


def _path_parameter(path: str, variable: re.Match[str]) -> dict[str, Any]:
    name, segment = variable[1], path[: variable.start()].rstrip("/").rpartition("/")[2]
    attribute = "ID" if name.endswith("id") else name.replace("_", " ").capitalize()
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"{attribute} of the {_OBJECT_NAMES.get(segment) or _singular(segment)}",
        "schema": {"type": "string", "minLength": 1},
    }


def _singular(noun: str) -> str:
    return noun.removesuffix("ies") + "y" if noun.endswith("ies") else noun.removesuffix("s")


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    conditional = _CONDITIONAL if 304 in route.operation.responses else ()
    ranged = _RANGED if 206 in route.operation.responses else ()
    idempotent = _IDEMPOTENT if is_mutation(route) else ()
    return [*conditional, *ranged, *_ALTERNATIVES.get(route.operation.query, ()), *idempotent]


def _query_parameters(model: type[BaseModel], components: OpenApiComponents) -> list[dict[str, Any]]:
    schema = components.expand_schema(model)
    return [
        components.add_parameter(
            f"{_defining_model(model, name).__name__}.{name}",
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": value.get("description", ""),
                "schema": _without_null(value),
            },
        )
        for name, value in schema["properties"].items()
    ]


def _defining_model(model: type[BaseModel], name: str) -> type[BaseModel]:
    """Return the most general base of the model with the same field, so that all models that inherit it share it."""
    bases = [base for base in model.__mro__ if issubclass(base, BaseModel)]
    return [base for base in bases if repr(base.model_fields.get(name)) == repr(model.model_fields[name])][-1]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a query parameter, which can be absent but not null."""
    rest = {name: value for name, value in schema.items() if name not in ("title", "description")}
    options = [option for option in rest.pop("anyOf", ()) if option.get("type") != "null"]
    if rest.get("default", ...) is None:
        del rest["default"]
    return {**options[0], **rest} if len(options) == 1 else rest | ({"anyOf": options} if options else {})
