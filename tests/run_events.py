"""Run-completion events for tests."""

from typing import Any
from uuid import uuid4

import orjson

from service.runs.model import STATED_FIELDS

COMPLETED_AT = "2026-05-20T12:00:00Z"


def result(name: str = "logs in", status: str = "passed", **fields: Any) -> dict[str, Any]:
    return {"name": name, "suite": "auth.login", "status": status, "duration_ms": 812, **fields}


def run_event(
    run_id: str = "run_1",
    results: list[Any] | None = None,
    *,
    id: str | None = None,  # noqa: A002 - the name of the CloudEvents attribute
    time: str | None = COMPLETED_AT,
    organization: str = "acme",
    project_id: str = "shop",
    **run: Any,
) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "run.completed",
        "source": "/runner/test",
        "id": id or uuid4().hex,
        **({"time": time} if time else {}),
        "data": {
            "organization": organization,
            "run": {"run_id": run_id, "project_id": project_id, **run},
            "results": [result()] if results is None else results,
        },
    }


def stated_fields() -> dict[str, Any]:
    """A value of each field of a run that producers state."""
    values = {"text": "the {}", "https_url": "https://ci.example/{}", "labels": {"team": "web"}}
    return {
        name: value.format(name) if isinstance(value, str) else value
        for name, field in STATED_FIELDS.items()
        for value in [values[field.type]]
    }


def body(event: Any) -> bytes:
    return event if isinstance(event, bytes) else orjson.dumps(event)
