"""The events in and out as an AsyncAPI 3.0 document, made from the contracts; docs/asyncapi.yaml is its copy."""

from typing import Any, Final

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from service.contracts.cloudevents import STRUCTURED
from service.contracts.events import DisabledWebhook, RunObject
from service.contracts.run_events import RUN_EVENT

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


class AboutRun(TypedDict):
    """What the event is about."""

    object: RunObject


class AboutWebhook(TypedDict):
    """What the event is about."""

    object: DisabledWebhook


class RunEnvelope(TypedDict):
    """`run.completed`, `run.updated` or `run.failed`."""

    id: str
    type: str
    created: str
    data: AboutRun


class WebhookEnvelope(TypedDict):
    """`webhook.disabled`."""

    id: str
    type: str
    created: str
    data: AboutWebhook


def document(version: str) -> dict[str, Any]:
    """The whole document, for this version of the product."""
    schemas: dict[str, Any] = {}
    event_in = _schema(RUN_EVENT, schemas)
    run_out = _schema(TypeAdapter(RunEnvelope), schemas)
    disabled_out = _schema(TypeAdapter(WebhookEnvelope), schemas)
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
            "messages": {
                "runCompleted": _message("run.completed", STRUCTURED, event_in, RUN_EVENT_EXAMPLE),
                "runEvent": _message("run.completed, run.updated, run.failed", "application/json", run_out),
                "webhookDisabled": _message("webhook.disabled", "application/json", disabled_out),
            },
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
    "messages": {
        "runEvent": {"$ref": "#/components/messages/runEvent"},
        "webhookDisabled": {"$ref": "#/components/messages/webhookDisabled"},
    },
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
