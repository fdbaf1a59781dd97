"""Published events as webhooks, the live stream, and the event list show them: one envelope around one object."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import orjson
from typing_extensions import TypedDict

from service.contracts.gates import Decision
from service.contracts.responses import Export, Quarantine
from service.domain.events import MAX_OBJECT_BYTES, EventSubject
from service.domain.statuses import Counts
from service.domain.timestamps import format_time

MAX_FAILING_CASES: Final = 20

T = TypeVar("T")


class FailingCase(TypedDict):
    """A result of the run that failed. `id` and `case` link to the full result and case. Long texts are truncated."""

    id: str
    case: str
    case_id: str | None
    variant: dict[str, str]
    suite: str
    name: str
    file: str | None
    status: str
    failure_summary: str | None


class RunLinks(TypedDict):
    """URLs of the run, its results, its page in the console, and the CI job."""

    run: str
    results: str
    console: str
    ci: str | None


class RunObject(TypedDict):
    """A run at the time of the event. Later events of the same run have a higher `revision`.

    `id` equals `run_id`, and `organization_id` is the slug of the organization.
    """

    id: str
    organization_id: str
    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    base_branch: str | None
    pull_request: str | None
    commit_sha: str | None
    labels: dict[str, str]
    status: str
    failures_missing: bool
    complete: bool
    counts: dict[str, int]
    revision: int
    started_at: str | None
    completed_at: str
    duration_ms: int | None
    failing_cases: list[FailingCase]
    truncated: bool
    links: RunLinks


class DisabledWebhookObject(TypedDict):
    """A webhook that was disabled because its endpoint failed for days or responded with 410 Gone.

    The URL isn't included: it can be a credential, and every viewer and other endpoint receives the event.
    """

    webhook_id: str
    description: str
    reason: str
    failing_since: str | None


class WebhookTestObject(TypedDict):
    """The object of a test delivery."""

    webhook_id: str
    message: str


class EventPayload(TypedDict, Generic[T]):
    """The subject of an event at the time of the event."""

    object: T


class EventEnvelope(TypedDict, Generic[T]):
    """An event in webhooks, the live stream, and the event list. All deliveries of an event have the same `id`."""

    id: str
    type: str
    created: datetime
    data: EventPayload[T]


# The shape of the events of each subject; the AsyncAPI document is generated from it.
ENVELOPES: Final[Mapping[EventSubject, Any]] = {
    "run": EventEnvelope[RunObject],
    "export": EventEnvelope[Export],
    "webhook": EventEnvelope[DisabledWebhookObject],
    "quarantine": EventEnvelope[Quarantine],
    "decision": EventEnvelope[Decision],
}


def run_json(run: RunObject) -> str:
    """Return the run as JSON of at most `MAX_OBJECT_BYTES`.

    If it's larger, failing cases are removed from the end, and then the labels.
    """
    encoded = orjson.dumps(run)
    while len(encoded) > MAX_OBJECT_BYTES:
        encoded = orjson.dumps(run := _shortened(run))
    return encoded.decode()


def _shortened(run: RunObject) -> RunObject:
    cases = run["failing_cases"]
    if not cases:
        return {**run, "truncated": True, "labels": {}}
    return {**run, "truncated": True, "failing_cases": cases[: len(cases) // 2]}


def counts_object(counts: Counts) -> dict[str, int]:
    """Return the counts by the name of their status."""
    return counts._asdict()


def envelope(event_id: str, event_type: str, created_at: datetime, data: str) -> bytes:
    """Return the envelope that every receiver gets. `data` is the JSON of the object and is included unchanged."""
    return orjson.dumps(
        {
            "id": event_id,
            "type": event_type,
            "created": format_time(created_at),
            "data": {"object": orjson.Fragment(data)},
        }
    )
