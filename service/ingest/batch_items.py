"""The events of an ingest batch, each with its outcome."""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from service.database.database import Connection
from service.domain.errors import Reason, Rejected
from service.domain.ids import OrgId, new_id
from service.events import outbox
from service.identity.producers.model import Sender
from service.ingest.parse_events import ParsedDataref, ParsedEvent, RejectedEvent, aware
from service.ingest.parse_results import UnseenCases
from service.ingest.validate_events import Problem, limit_problems
from service.organizations import store as organizations_store
from service.receipts import store as receipts_store
from service.receipts.store import EventRef, ReceiptRow
from service.reports import store as reports_store
from service.reports.model import StoredPart, Upload
from service.reports.store import NewReport
from service.results.model import CaseOutcomes, MergeEffects, set_number
from service.runs.model import RunState, set_failures_missing
from service.runs.store import RunRef
from service.storage import Area, resolve_reference
from service.tasks.model import REPORTS
from service.tracing.spans import TraceContext, resuming

_AREAS: Final[tuple[Area, ...]] = ("artifacts", "inbox")


async def accept_dataref(connection: Connection, event: ParsedDataref, storage_url: str, sender: Sender) -> bool:
    """Queue the referenced object in the caller's transaction. Return False if the same event was accepted before.

    Raises Rejected if the path isn't readable by the service, if the sender isn't allowed, or if another event with the
    same ID was accepted before.
    """
    resolved = resolve_reference(event.dataref, storage_url, *_AREAS)
    if resolved is None:
        raise Rejected(
            "invalid", "dataref: must be artifacts/<org_id>/… or inbox/<org_id>/… in the storage of the service"
        )
    org_id, path = resolved
    slug = (await organizations_store.find_slugs(connection, [org_id])).get(org_id)
    if slug is None:
        raise Rejected("unknown_organization", f"dataref: organization {org_id} not found")
    if refusal := sender.find_refusal_of_data(org_id, slug):
        raise Rejected("producer_not_allowed", refusal)
    at = aware(event.at).isoformat() if event.at else None
    upload = Upload((StoredPart(path, "data", None, 0, ""),), {}, is_reference=True, event_at=at)
    report = NewReport(
        org_id, new_id("rcp"), event.source, event.event_id, event.body_sha256, None, None, upload
    )  # fmt: skip
    accepted = await reports_store.queue(connection, report)
    if accepted is not None:
        await outbox.put(connection, REPORTS, {"org_id": org_id, "receipt_id": accepted})
        return True
    address = org_id, event.source, event.event_id
    known = await receipts_store.find_bodies(connection, [address])
    if known[address] != event.body_sha256:
        raise Rejected("event_id_reused", f"id: {event.event_id!r} was used before by this source for another event")
    return False


EventStatus = Literal["stored", "partial", "duplicate", "rejected", "postponed"]


class EventMessage(NamedTuple):
    """The message of an event in structured mode. Its trace context is that of its span.

    `user` is the RabbitMQ user that sent it, or None if the message doesn't state it.
    """

    body: bytes
    trace_context: TraceContext | None = None
    user: str | None = None


class EventOutcome(NamedTuple):
    """The outcome of one event. The consumer dead-letters a rejected event, and retries a postponed event later."""

    status: EventStatus
    reason: Reason | None = None
    message: str | None = None
    results: int = 0  # number of results that the event contributes


@dataclass(slots=True)
class EventItem:
    """A valid event of a known organization."""

    org_id: OrgId
    event: ParsedEvent
    outcomes: CaseOutcomes
    unseen: UnseenCases
    outcome: EventOutcome = field(default=EventOutcome("stored"))
    effects: MergeEffects = field(default_factory=MergeEffects)  # on other results of the run
    trace_context: TraceContext | None = None  # of the message

    @property
    def ref(self) -> EventRef:
        """The deduplication key of the event."""
        return self.org_id, self.event.source, self.event.event_id

    @property
    def run(self) -> RunRef:
        """The run that the event belongs to."""
        return self.org_id, self.event.state.run_id

    @property
    def state(self) -> RunState:
        """The state of the run according to the event. A rejected result that can be a failure is a missing one."""
        if not self.event.rejected_failing:
            return self.event.state
        return set_failures_missing(self.event.state, is_missing=True)

    def set_number(self, number: int) -> None:
        """Set the number of the part, also in the outcomes."""
        if number != self.event.number:
            self.event.number = number
            self.outcomes = set_number(self.outcomes, number)

    def receipt(self) -> ReceiptRow:
        """Return the receipt to insert if the event is stored."""
        event = self.event
        status = "partial" if event.rejected_count else "stored"
        return ReceiptRow(
            self.org_id, new_id("rcp"), event.source, event.event_id, event.body_sha256, status,
            event.state.run_id, len(self.outcomes), event.pipeline, event.part, limit_problems(event.problems),
        )  # fmt: skip

    def accept(self) -> None:
        """Set the outcome to stored or partial."""
        self.outcome = EventOutcome("partial" if self.event.rejected_count else "stored", results=len(self.outcomes))

    def reject(self, reason: Reason, message: str) -> None:
        """Set the outcome to rejected."""
        self.outcome = EventOutcome("rejected", reason, message)


@dataclass(slots=True)
class RejectedItem:
    """An event that can't be stored. `org_id` is None if the event doesn't name a known organization."""

    org_id: OrgId | None
    event: RejectedEvent

    @property
    def outcome(self) -> EventOutcome:
        """The rejection."""
        return EventOutcome("rejected", self.event.reason, self.event.message)

    def receipt(self) -> ReceiptRow | None:
        """Return the receipt, or None if the organization, source, or event ID is unknown."""
        event = self.event
        if self.org_id is None or event.source is None or event.event_id is None:
            return None
        problems: list[Problem] = [{"index": None, "name": None, "reason": f"{event.reason}: {event.message}"}]
        return ReceiptRow(
            self.org_id, new_id("rcp"), event.source, event.event_id, event.body_sha256, "rejected",
            event.run_id, 0, event.pipeline, event.part, problems,
        )  # fmt: skip


@dataclass(slots=True)
class DatarefItem:
    """An event whose data is in storage. The reports consumer reads it later."""

    event: ParsedDataref
    storage_url: str
    sender: Sender
    outcome: EventOutcome = field(default=EventOutcome("stored"))
    trace_context: TraceContext | None = None  # of the message

    async def queue(self, connection: Connection) -> None:
        """Queue the data as a report, and set the outcome."""
        try:
            with resuming(self.trace_context):
                is_new = await accept_dataref(connection, self.event, self.storage_url, self.sender)
            self.outcome = EventOutcome("stored" if is_new else "duplicate")
        except Rejected as rejection:
            self.outcome = EventOutcome("rejected", rejection.reason, str(rejection))


BatchItem = EventItem | RejectedItem | DatarefItem
