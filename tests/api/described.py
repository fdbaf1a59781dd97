"""The OpenAPI document as tests use it: with resolved references, and with schemas that reject unknown fields."""

from typing import Any, Final

import orjson

from service.api.openapi.document import document

DOCUMENT: Final[dict[str, Any]] = orjson.loads(document())


def resolve(item: Any) -> Any:
    """Return the component that the item references, or the item itself."""
    while "$ref" in item:
        target: Any = DOCUMENT
        for step in item["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        item = target
    return item


def operations() -> dict[str, Any]:
    """Return the operations of all paths by their ID."""
    return {
        operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
    }


def strict_document() -> dict[str, Any]:
    """Return the document with schemas that reject unknown fields, so that tests find undocumented fields."""
    schemas = {name: _closed(schema) for name, schema in DOCUMENT["components"]["schemas"].items()}
    return {**DOCUMENT, "components": {**DOCUMENT["components"], "schemas": schemas}}


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    is_object = schema.get("type") == "object" and "properties" in schema
    return {"additionalProperties": False} | closed if is_object else closed
