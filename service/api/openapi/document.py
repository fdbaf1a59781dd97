"""The complete document: information, paths, webhooks, and components."""

from functools import cache
from typing import Any, Final

import orjson

from service.api.openapi.bodies import request_body
from service.api.openapi.components import OpenApiComponents
from service.api.openapi.parameters import parameters, path_template
from service.api.openapi.responses import responses
from service.api.openapi.webhooks import webhooks
from service.api.operations import Route
from service.api.routes import all_routes
from service.version import find_version

# Many validators don't support this character class. The replacement is equivalent for ASCII text.
_NO_CONTROL: Final = rb"[^\\p{C}]"
_NO_CONTROL_ASCII: Final = rb"[^\\x00-\\x1f\\x7f-\\x9f]"
_KEY: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "zof_…",
    "description": "An API key. Its role determines its permissions.",
}

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
        "webhooks": webhooks(components),
        "components": components.to_json() | {"securitySchemes": {"key": _KEY}},
    }
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).replace(_NO_CONTROL, _NO_CONTROL_ASCII) + b"\n"


def _operation(route: Route, components: OpenApiComponents) -> dict[str, Any]:
    operation = route.operation
    permission = (
        f"Requires the permission {' or '.join(f'`{name}`' for name in route.permissions)}." if route.permission else ""
    )
    description = " ".join(filter(None, (operation.description, permission)))
    body = request_body(operation, components)
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
