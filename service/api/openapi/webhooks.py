"""The requests that the service sends to webhooks: one per event type."""

from typing import Any, Final

from service.api.openapi.components import OpenApiComponents
from service.contracts.events import ENVELOPES, EventEnvelope, WebhookTestObject
from service.domain.events import EVENTS, TEST

_TEST_OCCURS: Final = "A test of the webhook was requested. Only this webhook receives the event."
_TAG: Final = "webhook-requests"  # generators write one file per tag, also if paths and webhooks have the same tag
_DELIVERY: Final = (
    "Delivery is at least once, in any order: ignore a `webhook-id` that you have received before. Verify a signature "
    "before you read the body."
)


def _header(name: str, description: str, type_: str = "string") -> dict[str, Any]:
    return {"name": name, "in": "header", "required": True, "description": description, "schema": {"type": type_}}


_HEADERS: Final = (
    _header("webhook-id", "ID of the event, the same in every attempt (Standard Webhooks)"),
    _header("webhook-timestamp", "Time of the attempt in Unix time (seconds)", "integer"),
    _header(
        "webhook-signature",
        "One signature per valid secret, separated by spaces: `v1,` and the base64 of the HMAC-SHA256 of "
        "`{webhook-id}.{webhook-timestamp}.{body}`. The key is the decoded base64 after `whsec_`, or the complete "
        "secret if it has no such prefix.",
    ),
    _header(
        "X-Zof-Signature",
        "HMAC-SHA256 of the body in hexadecimal. The key is the complete current secret, including `whsec_`.",
    ),
)
_RESPONSES: Final = {
    "2XX": {"description": "The event is delivered."},
    "410": {"description": "The endpoint is gone. The service disables the webhook."},
    "default": {"description": "The attempt failed. The service retries it with increasing delays."},
}


def webhooks(components: OpenApiComponents) -> dict[str, Any]:
    """Return the request of each event type."""
    events = {name: (event.occurs, event.subject, ENVELOPES[event.subject]) for name, event in EVENTS.items()}
    test = (_TEST_OCCURS, "test", EventEnvelope[WebhookTestObject])
    return {
        name: {"post": _operation(name, occurs, _payload(subject, envelope, components), components)}
        for name, (occurs, subject, envelope) in [*events.items(), (TEST, test)]
    }


def _payload(subject: str, envelope: Any, components: OpenApiComponents) -> dict[str, Any]:
    return components.add_response_schema(envelope, f"{subject.capitalize()}Event")


def _operation(name: str, occurs: str, payload: dict[str, Any], components: OpenApiComponents) -> dict[str, Any]:
    return {
        "operationId": "receive_" + name.replace(".", "_"),
        "summary": f"Receive an event of type {name}",
        "description": f"{occurs} {_DELIVERY}",
        "tags": [_TAG],
        "parameters": [components.add_parameter(header["name"], header) for header in _HEADERS],
        "requestBody": {"required": True, "content": {"application/json": {"schema": payload}}},
        "responses": _RESPONSES,
        "security": [],
    }
