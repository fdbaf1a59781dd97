"""Event types, which are the facts that the service publishes, and the event stream of an organization.

`EventType` lists the types, and `EVENTS` describes each. The filters, the webhook subscriptions, the command line, and
the AsyncAPI document derive from them. To add a type, add it to both, and insert the event in the operation that
changes the data. A new subject also needs an entry in `service.events.contract`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

from service.domain.ids import OrgId

EventType = Literal[
    "run.completed",
    "run.updated",
    "run.failed",
    "export.completed",
    "export.failed",
    "webhook.disabled",
    "quarantine.created",
    "quarantine.expired",
    "gate.decided",
    "release.gate_blocked",
    "case.flaky",
    "case.broken",
    "case.recovered",
    "failure_group.opened",
    "failure_group.recurred",
    "failure_group.resolved",
    "project.digest",
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
# The event types of Zof, to which a webhook can subscribe although this service never sends some of them.
ZofEventType = Literal[
    "run.completed",
    "run.failed",
    "run.started",
    "remediation.plan_pending",
    "remediation.approved",
    "agent.offline",
    "release.gate_blocked",
    "integration.error",
]
EventSubject = Literal["run", "export", "webhook", "quarantine", "decision", "case", "failure_group", "digest"]
# Events that no list, stream, or subscription contains. Exports of changed runs need the changes of runs.
InternalEventType = Literal["run.stored", "run.deleted", "webhook.summary"]
STORED: Final[InternalEventType] = "run.stored"  # by an event or report with `notify: false`
DELETED: Final[InternalEventType] = "run.deleted"
SUMMARY: Final[InternalEventType] = "webhook.summary"  # sent only to the webhook whose notices it summarizes
INTERNAL_TYPES: Final[tuple[InternalEventType, ...]] = get_args(InternalEventType)
TEST: Final = "webhook.test"  # sent only to the webhook under test, regardless of its subscription

BEFORE_FIRST: Final = 0  # less than every event number
AFTER_LAST: Final = 2**63 - 1  # greater than every event number
_POSITION: Final = re.compile(r"(?:(evt_[0-9a-f]{32})(?:_(\d{1,19}))?|(\d{1,19}))", re.ASCII)

RETENTION_DAYS: Final = 30
MAX_OBJECT_BYTES: Final = 19_000  # of `data.object`, so that a complete envelope stays under 20 kB


class EventDefinition(NamedTuple):
    """The subject of an event type, which determines the shape of `data.object`, and when the event occurs."""

    subject: EventSubject
    occurs: str


EVENTS: Final[Mapping[EventType, EventDefinition]] = {
    "run.completed": EventDefinition("run", "The run is complete."),
    "run.updated": EventDefinition("run", "The run changed, and the change didn't complete it."),
    "run.failed": EventDefinition("run", "The run is complete, and its status is failed or error."),
    "export.completed": EventDefinition("export", "The file of the export can be downloaded."),
    "export.failed": EventDefinition("export", "The export ended with an error."),
    "webhook.disabled": EventDefinition("webhook", "The webhook was disabled because its endpoint failed or is gone."),
    "quarantine.created": EventDefinition("quarantine", "The quarantine was created."),
    "quarantine.expired": EventDefinition("quarantine", "The quarantine expired. One that was ended never expires."),
    "gate.decided": EventDefinition("decision", "A gate decided about a run."),
    "release.gate_blocked": EventDefinition("decision", "A gate blocked a run."),
    "case.flaky": EventDefinition("case", "The state of the case became flaky."),
    "case.broken": EventDefinition("case", "The state of the case became broken."),
    "case.recovered": EventDefinition("case", "The state of the case became healthy."),
    "failure_group.opened": EventDefinition("failure_group", "The group failed first on the default branch."),
    "failure_group.recurred": EventDefinition("failure_group", "The group failed again after it was resolved."),
    "failure_group.resolved": EventDefinition("failure_group", "Each case of the group passed in a newer run."),
    "project.digest": EventDefinition("digest", "A week ended, and a webhook names this event type."),
}

FilterName = Literal["branch", "owner", "state"]  # of webhooks; every subject can have a project
# The subjects that have the property with which each filter is compared. The other events never match the filter.
FILTERED_SUBJECTS: Final[Mapping[FilterName, tuple[EventSubject, ...]]] = {
    "branch": ("run", "decision", "case", "failure_group", "digest"),
    "owner": ("case", "failure_group", "digest"),
    "state": ("case",),
}


class NewEvent(NamedTuple):
    """An event to store. `data` is the JSON of its `data.object`.

    `trace_context` is the context of the change, if it isn't the current one. Webhooks filter by `branch`, `owners`,
    and `state`, which are None if the subject has none.
    """

    org_id: OrgId
    event_id: str
    type: str
    project_id: str | None
    run_id: str | None
    data: str
    trace_context: Mapping[str, str] | None = None
    branch: str | None = None
    owners: Sequence[str] | None = None
    state: str | None = None


class InternalEvent(NamedTuple):
    """An event without data that no reader receives."""

    org_id: OrgId
    event_id: str
    type: InternalEventType
    project_id: str
    run_id: str


class NumberedEvent(NamedTuple):
    """An event with its event number. `data` is the JSON of its `data.object`."""

    number: int
    event_id: str
    type: str
    project_id: str | None
    run_id: str | None
    created_at: datetime
    data: str


class StreamPosition(NamedTuple):
    """A position in the event stream, after an event: its ID, its number, or both.

    After a failover or a restore, other events can get the numbers of lost events, but an ID never returns. With the
    number, a position stays valid after the event is deleted, until a following event is deleted.
    """

    event_id: str | None
    number: int | None

    @classmethod
    def parse(cls, text: str) -> "StreamPosition | None":
        """Return the position, or None if the text isn't one."""
        match = _POSITION.fullmatch(text)
        if match is None:
            return None
        number = match[2] or match[3]
        return cls(match[1], None if number is None else int(number))

    def __str__(self) -> str:
        return "_".join(str(part) for part in self if part is not None)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter for events. An empty or None field doesn't restrict the events."""

    types: tuple[str, ...] = ()
    run_id: str | None = None
    project_id: str | None = None

    def matches(self, event: NumberedEvent) -> bool:
        """Return whether the event passes the filter. The statements in store.sql use the same conditions."""
        return (
            event.type not in INTERNAL_TYPES
            and (not self.types or event.type in self.types)
            and self.run_id in (None, event.run_id)
            and self.project_id in (None, event.project_id)
        )


def run_event_types(status: str, *, completed: bool) -> tuple[EventType, ...]:
    """Return the types of the events for a change of a run. `completed` is true for one change of each run."""
    if not completed:
        return ("run.updated",)
    return ("run.completed", "run.failed") if status in ("failed", "error") else ("run.completed",)
