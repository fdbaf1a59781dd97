"""Request bodies: JSON objects, files, and forms with files."""

from typing import Any, Final

from service.api.openapi.components import OpenApiComponents
from service.api.operations import Operation

_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"
_URL_ENCODED: Final = "application/x-www-form-urlencoded"
_FILE: Final = {"type": "string", "format": "binary"}
# Generators of TypeScript clients accept no fields if the schema doesn't state additionalProperties.
_OBJECT: Final = {"type": "object", "additionalProperties": True}


def request_body(operation: Operation, components: OpenApiComponents) -> dict[str, Any] | None:
    """Return the request body of an operation, or None if it has none."""
    if operation.body:
        return _required({_JSON: {"schema": components.add_request_schema(operation.body)}})
    if operation.form:
        return _required({_URL_ENCODED: {"schema": components.add_request_schema(operation.form)}})
    content = {media_type: {"schema": _upload_schema(media_type)} for media_type in operation.media_types}
    if operation.form_files:
        content[_FORM] = {"schema": _form_schema(operation.form_files)}
    return _required(content) if content else None


def _required(content: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": content}


def _upload_schema(media_type: str) -> dict[str, Any]:
    """Return the schema of an uploaded file. Generated clients send a JSON file as an object."""
    is_json = media_type == _JSON or media_type.endswith("+json")
    return dict(_OBJECT) if is_json else dict(_FILE)


def _form_schema(files: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            name: {"type": "array", "items": dict(_FILE), "description": description}
            for name, description in files.items()
        },
    }
