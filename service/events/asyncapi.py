"""The AsyncAPI 3.0 document of incoming and published events, generated from the contracts.

docs/asyncapi.yaml is its committed copy.
"""

from typing import Any, Final

from pydantic import TypeAdapter

from service.events.contract import ENVELOPES
from service.events.model import EVENTS, EventSubject
from service.ingest.contract import HEADER_PREFIXES, RUN_COMPLETED_EVENT, STRUCTURED

_TEMPLATE: Final = "#/components/schemas/{model}"

RUN_EVENT_EXAMPLE: Final = {
    "specversion": "1.0",
    "type": "run.completed",
    "source": "/runner/eu-1",
    "id": "evt_01",
    "time": "2026-05-20T12:00:00Z",
    "data": {
        "organization": "acme",
        "run": {
            "run_id": "run_xyz",
            "project_id": "proj_abc123",
            "environment": "staging",
            "branch": "main",
            "status": "failed",
            "expected_results": 2,
        },
        "results": [
            {
                "case_id": "tc_login_001",
                "suite": "auth.login",
                "name": "logs in",
                "file": "tests/login.py",
                "status": "passed",
                "duration_ms": 812,
            },
            {
                "suite": "shop",
                "name": "pays",
                "status": "failed",
                "duration_ms": 3120,
                "logs_ref": "s3://logs/run_xyz/2.log",
                "failure": {"type": "AssertionError", "message": "expected 200 got 503"},
                "attempts": [{"status": "failed", "duration_ms": 1500}, {"status": "failed", "duration_ms": 1620}],
                "artifacts": [{"kind": "screenshot", "name": "pay.png", "uri": "s3://shots/pay.png"}],
            },
        ],
    },
}
_MESSAGE_KEYS: Final = {subject: f"{subject}Event" for subject in ENVELOPES}
_PREFIXES: Final = ", ".join(f"`{prefix}`" for prefix in HEADER_PREFIXES)
_RUNS: Final[dict[str, Any]] = {
    "address": "run.completed",
    "description": "CloudEvents 1.0 in structured or binary mode, at most 4 MiB. An event of more than 256 KiB "
    "can be stored after later, smaller events. Publish persistent messages with publisher confirms. In binary "
    "mode, the body is `data`, and each attribute is a header: its lowercase name after "
    f"one of the prefixes {_PREFIXES}. All attributes of a message have the same prefix.",
    "messages": {"runCompleted": {"$ref": "#/components/messages/runCompleted"}},
    "bindings": {
        "amqp": {
            "is": "routingKey",
            "exchange": {"name": "runs", "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"},
            "bindingVersion": "0.3.0",
        }
    },
}
_WEBHOOKS: Final[dict[str, Any]] = {
    "address": None,
    "description": "The URL of a registered webhook. Requests are signed according to Standard Webhooks. Delivery is "
    "at least once, in any order.",
    "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in _MESSAGE_KEYS.values()},
    "bindings": {"http": {}},
}


def document(version: str) -> dict[str, Any]:
    """Return the document for a version of the product."""
    schemas: dict[str, Any] = {}
    run_completed = _message("run.completed", STRUCTURED, _schema(RUN_COMPLETED_EVENT, schemas))
    run_completed["examples"] = [{"payload": RUN_EVENT_EXAMPLE}]
    published = {key: _published_message(subject, schemas) for subject, key in _MESSAGE_KEYS.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Results API",
            "version": version,
            "description": "Receives run-completion events from RabbitMQ and sends events about runs, exports, "
            "webhooks, quarantines, decisions, and states of cases by HTTP.",
        },
        "defaultContentType": "application/json",
        "channels": {"runs": _RUNS, "webhooks": _WEBHOOKS},
        "operations": {
            "receiveRun": _operation(
                "receive", "runs", "Stores the run and its results exactly once per source and event ID."
            ),
            "sendEvent": _operation(
                "send", "webhooks", "Posts each event to each webhook that is subscribed to its type."
            ),
        },
        "components": {
            "messages": {"runCompleted": run_completed, **published},
            "schemas": schemas,
        },
    }


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(name: str, content_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "contentType": content_type, "payload": payload}


def _published_message(subject: EventSubject, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the message of all event types with this subject."""
    types = {name: event.occurs for name, event in EVENTS.items() if event.subject == subject}
    message = _message(", ".join(types), "application/json", _schema(TypeAdapter(ENVELOPES[subject]), schemas))
    return {**message, "description": "\n".join(f"- `{name}`: {occurs}" for name, occurs in types.items())}


def _schema(adapter: TypeAdapter[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a type, and add the schemas to which it refers to `schemas`."""
    schema = adapter.json_schema(ref_template=_TEMPLATE)
    schemas |= schema.pop("$defs", {})
    return schema
