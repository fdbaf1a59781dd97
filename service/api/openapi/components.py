"""The components of the document: definitions that several operations reference."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, get_args, get_origin

from pydantic import TypeAdapter

from service.contracts.descriptions import add_descriptions
from service.contracts.responses import Page

IsOmitted = Callable[[str, Any], bool]  # whether the value of a keyword is omitted

_REF_TEMPLATE: Final = "#/components/schemas/{model}"
_OMITTED_DEFAULTS: Final = (type(None), dict)
_MAX_INT32: Final = 2**31 - 1
_MAX_INT64: Final = 2**63 - 1


@dataclass(frozen=True)
class OpenApiComponents:
    """The components that the operations reference, by name."""

    schemas: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, Any] = field(default_factory=dict)
    responses: dict[str, Any] = field(default_factory=dict)

    def add_parameter(self, name: str, parameter: dict[str, Any]) -> dict[str, Any]:
        """Add a parameter and return a reference to it."""
        self.parameters[name] = parameter
        return {"$ref": f"#/components/parameters/{name}"}

    def add_header(self, name: str, header: dict[str, Any]) -> dict[str, Any]:
        """Add a response header and return a reference to it."""
        self.headers[name] = header
        return {"$ref": f"#/components/headers/{name}"}

    def add_response(self, name: str, response: dict[str, Any]) -> dict[str, Any]:
        """Add a response and return a reference to it."""
        self.responses[name] = response
        return {"$ref": f"#/components/responses/{name}"}

    def add_request_schema(self, model: Any) -> dict[str, Any]:
        """Add the schema of a request body, which rejects unknown fields, and return a reference to it.

        Generators that treat a field with a default as required would require the fields whose default is null, and
        generators of Go clients write code that doesn't compile for a default that is an object.
        """
        return self._add(
            model, _name(model), lambda key, value: key == "default" and isinstance(value, _OMITTED_DEFAULTS)
        )

    def add_response_schema(self, model: Any, name: str | None = None) -> dict[str, Any]:
        """Add the schema of a response, which permits unknown fields, and return a reference to it.

        A later version can add fields to responses. `name` replaces the name of the schema.
        """
        return self._add(model, name or _name(model), lambda *item: item == ("additionalProperties", False))

    def expand_schema(self, model: Any) -> dict[str, Any]:
        """Return the schema of a model itself, and add the schemas that it references."""
        return _schema_of(model, self.schemas)

    def _add(self, model: Any, name: str, is_omitted: IsOmitted) -> dict[str, Any]:
        """Add a schema without the omitted keywords, and return a reference to it."""
        definitions: dict[str, Any] = {}
        schema: dict[str, Any] = _without(_schema_of(model, definitions), is_omitted)
        self.schemas.update((key, _without(definition, is_omitted)) for key, definition in definitions.items())
        if schema.keys() == {"$ref"} or not schema.get("properties"):
            return schema
        self.schemas[name] = schema | {"title": name}
        return {"$ref": _REF_TEMPLATE.format(model=name)}

    def to_json(self) -> dict[str, Any]:
        """Return the components in the order of their names."""
        return {
            kind: dict(sorted(getattr(self, kind).items()))
            for kind in ("schemas", "parameters", "headers", "responses")
        }


def _name(model: Any) -> str:
    return f"PageOf{get_args(model)[0].__name__}" if get_origin(model) is Page else str(model.__name__)


def _schema_of(model: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a model, and add the schemas that it references to `definitions`."""
    schema = _json_schema(model)
    definitions.update(schema.get("$defs", {}))
    return {name: value for name, value in schema.items() if name != "$defs"}


@cache
def _json_schema(model: Any) -> dict[str, Any]:
    schema = TypeAdapter(model).json_schema(ref_template=_REF_TEMPLATE, mode="validation")
    definitions = schema.get("$defs", {})
    for name, definition in definitions.items():
        definition["title"] = name  # generators use it as the name of a class, and a generic model has several schemas
    for name, definition in {**definitions, getattr(model, "__name__", ""): schema}.items():
        add_descriptions(name, definition)
    described: dict[str, Any] = _with_int64(schema)
    return described


def _with_int64(schema: Any) -> Any:
    """Return the schema with the format of integers that 32 bits can't contain, such as the size of a file.

    Generators of Go and Java clients otherwise use 32 bits, and such a client can't read the response.
    """
    if isinstance(schema, list):
        return [_with_int64(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    is_long = schema.get("type") == "integer" and schema.get("maximum", _MAX_INT64) > _MAX_INT32
    return {key: _with_int64(item) for key, item in schema.items()} | ({"format": "int64"} if is_long else {})


def _without(schema: Any, is_omitted: IsOmitted) -> Any:
    """Return the schema without the omitted keywords, at any depth."""
    if isinstance(schema, list):
        return [_without(item, is_omitted) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without(item, is_omitted) for key, item in schema.items() if not is_omitted(key, item)}
