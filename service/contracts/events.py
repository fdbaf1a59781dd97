"""Events as webhooks, the live stream and the list show them: one envelope around one object."""

from datetime import UTC, datetime
from typing import Final

import orjson
from typing_extensions import TypedDict

from service.domain.events import MAX_OBJECT_BYTES
from service.domain.results import Counts

MAX_FAILING_CASES: Final = 20


class FailingCase(TypedDict):
    """A result of the run that did not pass; `id` and `case` lead to all of it. Texts are cut."""

    id: str
    case: str
    case_id: str | None
    suite: str
    name: str
    file: str | None
    status: str
    failure_summary: str | None


class RunLinks(TypedDict):
    """Where to read on."""

    run: str
    results: str
    ci: str | None


class RunObject(TypedDict):
    """A run as it was when the event happened. A later event about it has a higher `revision`."""

    run_id: str
    project_id: str
    environment: str | None
    branch: str | None
    commit_sha: str | None
    labels: dict[str, str]
    status: str
    complete: bool
    counts: dict[str, int]
    revision: int
    started_at: str | None
    completed_at: str
    duration_ms: int | None
    failing_cases: list[FailingCase]
    truncated: bool
    links: RunLinks


def run_json(run: RunObject) -> str:
    """The run as JSON, within the limit: cases are left out from the end, and labels where that is not enough."""
    written = orjson.dumps(run)
    while len(written) > MAX_OBJECT_BYTES:
        written = orjson.dumps(run := _shortened(run))
    return written.decode()


def _shortened(run: RunObject) -> RunObject:
    cases = run["failing_cases"]
    if not cases:
        return {**run, "truncated": True, "labels": {}}
    return {**run, "truncated": True, "failing_cases": cases[: len(cases) // 2]}


class DisabledWebhookObject(TypedDict):
    """A webhook that was switched off, since its endpoint failed for days or wants no more."""

    webhook_id: str
    url: str
    description: str
    reason: str
    failing_since: str | None


class WebhookTestObject(TypedDict):
    """What a test delivery says."""

    webhook_id: str
    message: str


def counts_object(counts: Counts) -> dict[str, int]:
    """The counts under the names of their statuses."""
    return counts._asdict()


def envelope(event_id: str, event_type: str, created_at: datetime, data: str) -> bytes:
    """What every receiver gets; `data` is the JSON of the object, which goes through untouched."""
    return orjson.dumps(
        {
            "id": event_id,
            "type": event_type,
            "created": rfc3339(created_at),
            "data": {"object": orjson.Fragment(data)},
        }
    )


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds, as everywhere in the API."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
