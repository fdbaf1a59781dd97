"""The events in and out as an AsyncAPI 3.0 document, made from the contracts; docs/asyncapi.yaml is its copy."""

from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from service.contracts.cloudevents import STRUCTURED
from service.contracts.events import DisabledWebhookObject, RunObject
from service.contracts.responses import Export
from service.contracts.run_events import RUN_COMPLETED_EVENT

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


T = TypeVar("T")


class EventSubject(TypedDict, Generic[T]):
    """What an event is about, as it was when the event happened."""

    object: T


class EventEnvelope(TypedDict, Generic[T]):
    """An event as webhooks, the stream and the list show it. `id` stays the same over every delivery."""

    id: str
    type: str
    created: datetime
    data: EventSubject[T]


# What each message out is about, by the types of event that it stands for.
_OUT: Final = {
    "runEvent": ("run.completed, run.updated, run.failed", EventEnvelope[RunObject]),
    "exportEvent": ("export.completed, export.failed", EventEnvelope[Export]),
    "webhookEvent": ("webhook.disabled", EventEnvelope[DisabledWebhookObject]),
}


def document(version: str) -> dict[str, Any]:
    """The whole document, for this version of the product."""
    schemas: dict[str, Any] = {}
    event_in = _message("run.completed", STRUCTURED, _schema(RUN_COMPLETED_EVENT, schemas), RUN_EVENT_EXAMPLE)
    events_out = {
        key: _message(name, "application/json", _schema(TypeAdapter(shape), schemas))
        for key, (name, shape) in _OUT.items()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Results API",
            "version": version,
            "description": "Run-completion events in by RabbitMQ; facts about runs, exports and webhooks out by HTTP.",
        },
        "defaultContentType": "application/json",
        "channels": {"runs": _RUNS, "webhooks": _WEBHOOKS},
        "operations": {
            "takeRun": _operation("receive", "runs", "Stores the run and its results, exactly once per source and id."),
            "tellEvent": _operation("send", "webhooks", "Posts each event to each webhook that asked for its type."),
        },
        "components": {
            "messages": {"runCompleted": event_in, **events_out},
            "schemas": schemas,
        },
    }


_RUNS: Final[dict[str, Any]] = {
    "address": "run.completed",
    "description": "CloudEvents 1.0, structured or binary mode, at most 4 MiB. Publish persistent, with confirms.",
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
    "description": "The URL of a registered webhook. Signed as Standard Webhooks says; at least once, in no order.",
    "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in _OUT},
    "bindings": {"http": {}},
}


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(name: str, content_type: str, payload: dict[str, Any], example: Any = None) -> dict[str, Any]:
    examples = {"examples": [{"payload": example}]} if example else {}
    return {"name": name, "contentType": content_type, "payload": payload, **examples}


def _schema(adapter: TypeAdapter[Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a shape; the shapes inside it go to `schemas`."""
    schema = adapter.json_schema(ref_template=_TEMPLATE)
    schemas |= schema.pop("$defs", {})
    return schema
