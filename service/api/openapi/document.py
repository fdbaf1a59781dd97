"""The complete document: information, paths, webhooks, and components."""

from functools import cache
from typing import Any, Final

import orjson

from service.api.openapi.components import OpenApiComponents
from service.api.openapi.parameters import parameters, path_template
from service.api.openapi.responses import responses
from service.api.routes import all_routes
from service.events.contract import ENVELOPES, EventEnvelope, WebhookTestObject
from service.events.model import EVENTS, TEST
from service.http.routes import Operation, Route
from service.version import find_version

_DESCRIPTION: Final = """\
Stores the outcome of every case of validation runs and serves queries about them.

- **Authentication**: send `Authorization: Bearer zof_…`. The key determines the organization.
- **Errors** have the form `{"error": {"code", "message", "param"}, "request_id"}`. Use `code` and `param` in programs.
- **Lists**: repeat the request with `starting_after` = `next_cursor` and the same filters until `has_more` is false.
- **Retries**: repeat 429, 503, and requests without a response, after the seconds in `Retry-After`. With an
  `Idempotency-Key`, a repeated change returns the first response.
- **Waiting**: with `wait`, the response is sent as soon as the run, receipt, or export is final, instead of polling.

Unknown parameters and fields of a request are errors. Ignore unknown fields of a response: a later version can add
some.
"""
_KEY: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "zof_…",
    "description": "An API key. Its role determines its permissions.",
}
_JSON: Final = "application/json"
_FORM: Final = "multipart/form-data"
_URL_ENCODED: Final = "application/x-www-form-urlencoded"
_FILE: Final = {"type": "string", "format": "binary"}
# Generators of TypeScript clients accept no fields if the schema doesn't state additionalProperties.
_OBJECT: Final = {"type": "object", "additionalProperties": True}

# Many validators don't support this character class. The replacement is equivalent for ASCII text.
_NO_CONTROL: Final = rb"[^\\p{C}]"
_NO_CONTROL_ASCII: Final = rb"[^\\x00-\\x1f\\x7f-\\x9f]"

_TEST_OCCURS: Final = "A test of the webhook was requested. Only this webhook receives the event."
_WEBHOOK_TAG: Final = (
    "webhook-requests"  # generators write one file per tag, also if paths and webhooks have the same tag
)
_DELIVERY: Final = (
    "Delivery is at least once, in any order: ignore a `webhook-id` that you have received before. Verify a signature "
    "before you read the body."
)
_WEBHOOK_RESPONSES: Final = {
    "2XX": {"description": "The event is delivered."},
    "410": {"description": "The endpoint is gone. The service disables the webhook."},
    "default": {"description": "The attempt failed. The service retries it with increasing delays."},
}


def _webhook_header(name: str, description: str, type_: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "description": description, "schema": {"type": type_}}


_WEBHOOK_HEADERS: Final = (
    _webhook_header("webhook-id", "ID of the event, the same in every attempt (Standard Webhooks)"),
    _webhook_header("webhook-timestamp", "Time of the attempt in Unix time (seconds)", "integer"),
    _webhook_header(
        "webhook-signature",
        "One signature per valid secret, separated by spaces: `v1,` and the base64 of the HMAC-SHA256 of "
        "`{webhook-id}.{webhook-timestamp}.{body}`. The key is the decoded base64 after `whsec_`, or the complete "
        "secret if it has no such prefix.",
    ),
    _webhook_header(
        "X-Zof-Signature",
        "HMAC-SHA256 of the body in hexadecimal. The key is the complete current secret, including `whsec_`.",
    ),
)


@cache
def document() -> bytes:
    """Return the document as JSON."""
    components = OpenApiComponents()
    paths: dict[str, Any] = {}
    for route in all_routes():
        paths.setdefault(path_template(route.path), {})[route.method.lower()] = _operation(route, components)
    body = {
        "openapi": "3.1.0",
        "info": {
            "title": "Results API",
            "version": find_version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The server that sends this document"}],
        "paths": paths,
        "webhooks": _webhooks(components),
        "components": components.to_json() | {"securitySchemes": {"key": _KEY}},
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).replace(_NO_CONTROL, _NO_CONTROL_ASCII) + b"\n"


def _operation(route: Route, components: OpenApiComponents) -> dict[str, Any]:
    operation = route.operation
    permission = (
        f"Requires the permission {' or '.join(f'`{name}`' for name in route.permissions)}." if route.permission else ""
    )
    description = " ".join(filter(None, (operation.description, permission)))
    body = _request_body(operation, components)
    return {
        "operationId": operation.operation_id,
        "summary": operation.summary,
        **({"description": description} if description else {}),
        "tags": [route.path.removeprefix("/v1").split("/")[1]],
        "parameters": parameters(route, components),
        **({"requestBody": body} if body else {}),
        "responses": responses(route, components),
        "security": [{"key": []}] if route.permission else [],
        **({"x-permission": route.permission} if route.permission else {}),
        **({"x-or-permission": route.or_permission} if route.or_permission else {}),
    }


def _request_body(operation: Operation, components: OpenApiComponents) -> dict[str, Any] | None:
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


def _webhooks(components: OpenApiComponents) -> dict[str, Any]:
    """Return the request of each event type."""
    events = {name: (event.occurs, event.subject, ENVELOPES[event.subject]) for name, event in EVENTS.items()}
    test = (_TEST_OCCURS, "test", EventEnvelope[WebhookTestObject])
    return {
        name: {"post": _webhook_operation(name, occurs, f"{subject.capitalize()}Event", envelope, components)}
        for name, (occurs, subject, envelope) in [*events.items(), (TEST, test)]
    }


def _webhook_operation(
    name: str, occurs: str, schema_name: str, envelope: Any, components: OpenApiComponents
) -> dict[str, Any]:
    payload = components.add_response_schema(envelope, schema_name)
    return {
        "operationId": "receive_" + name.replace(".", "_"),
        "summary": f"Receive an event of type {name}",
        "description": f"{occurs} {_DELIVERY}",
        "tags": [_WEBHOOK_TAG],
        "parameters": [components.add_parameter(header["name"], header) for header in _WEBHOOK_HEADERS],
        "requestBody": {"required": True, "content": {"application/json": {"schema": payload}}},
        "responses": _WEBHOOK_RESPONSES,
        "security": [],
    }
