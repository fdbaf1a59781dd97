"""The items of an ingest batch: each message becomes an event with its outcome."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, NamedTuple, ParamSpec, TypeVar

from service.database.database import Connection
from service.domain.errors import Reason, Rejected
from service.domain.ids import OrgId, new_id
from service.events import outbox
from service.identity.producers.model import Sender
from service.ingest.new_cases import IngestCache
from service.ingest.parse_events import (
    AcceptanceWindow,
    ParsedDataref,
    ParsedEvent,
    RejectedEvent,
    aware,
    parse_event,
)
from service.ingest.parse_results import UnseenCases, parse_results
from service.ingest.validate_events import LARGE_BODY_BYTES, Problem, limit_problems
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

LOCKED: Final = "the run is locked by another transaction"

_AREAS: Final[tuple[Area, ...]] = ("artifacts", "inbox")
_REMEMBERED_S: Final = 4.0  # shorter than the delay after which the broker returns a postponed event
_MAX_RUNS: Final = 10_000

P = ParamSpec("P")
T = TypeVar("T")

ProducerRun = tuple[str, str]  # organization and run_id, as the event names them
EventStatus = Literal["stored", "partial", "duplicate", "rejected", "postponed"]


class EventMessage(NamedTuple):
    """The message of an event in structured mode, with the trace context of its span.

    `user` is the RabbitMQ user that sent it, or None if the message doesn't state it.
    """

    body: bytes
    trace_context: TraceContext | None = None
    user: str | None = None


class EventOutcome(NamedTuple):
    """The outcome of one event.

    | Status | Receipt | Published copy |
    |---|---|---|
    | stored | stored, or queued if the data is in storage | none |
    | partial: some results are invalid | partial | none |
    | duplicate of an event with the same ID and body | unchanged | none |
    | rejected | rejected, or none (see below) | dead letter |
    | postponed | none | the same message, which the broker delivers again later |

    The consumer acknowledges the message in all cases: after the commit, and after the confirm of the copy. A rejected
    event has no receipt if its organization, source, or ID is unknown, if its sender isn't allowed to write to the
    organization, or if its data is in storage. If its ID belongs to another event, the receipt of the other event is
    unchanged.
    """

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
        """The state of the run according to the event. Failures are missing if a rejected result can be a failure."""
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
                is_new = await _accept_dataref(connection, self.event, self.storage_url, self.sender)
            self.outcome = EventOutcome("stored" if is_new else "duplicate")
        except Rejected as rejection:
            self.outcome = EventOutcome("rejected", rejection.reason, str(rejection))


async def _accept_dataref(connection: Connection, event: ParsedDataref, storage_url: str, sender: Sender) -> bool:
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


BatchItem = EventItem | RejectedItem | DatarefItem


class LockedRuns:
    """The runs whose lock this process didn't get recently. Their events are postponed without another wait."""

    def __init__(self) -> None:
        self._until_s: dict[ProducerRun, float] = {}

    def add(self, run: ProducerRun) -> None:
        """Remember a run for a few seconds."""
        if len(self._until_s) >= _MAX_RUNS:
            self._until_s.clear()
        self._until_s[run] = time.monotonic() + _REMEMBERED_S

    def __contains__(self, run: ProducerRun) -> bool:
        """Return whether the lock was recently not available."""
        until_s = self._until_s.get(run)
        if until_s is None or until_s > time.monotonic():
            return until_s is not None
        self._until_s.pop(run, None)  # another thread can have deleted it
        return False


class MessageParser:
    """Parses the messages of a process to items of batches."""

    def __init__(self, retention: timedelta, storage_url: str, max_rows: int, *, requires_producer: bool) -> None:
        self.locked_runs = LockedRuns()
        self._retention = retention
        self._storage_url = storage_url
        self._max_rows = max_rows
        self._requires_producer = requires_producer

    async def parse(self, connection: Connection, cache: IngestCache, message: EventMessage) -> BatchItem:
        """Parse one event completely, and free its unvalidated results, before the batch parses the next one."""
        event = await self.parse_event(message.body, cache)
        if event.organization:
            await cache.find_organization(connection, event.organization)
        item = await _run(message.body, self._to_item, event, cache, self._sender(cache, message))
        if not isinstance(item, RejectedItem):
            item.trace_context = message.trace_context
        return item

    async def parse_event(self, body: bytes, cache: IngestCache) -> ParsedEvent | ParsedDataref | RejectedEvent:
        """Parse an event without its results.

        The clock of the database decides which times are accepted. The clock of this process can be wrong, and other
        processes would accept other events.
        """
        await asyncio.sleep(0)  # yields, so that other batches can send their next statement
        return await _run(body, parse_event, body, AcceptanceWindow(cache.now, self._retention), self._max_rows)

    async def find_run(self, message: EventMessage, cache: IngestCache) -> ProducerRun | None:
        """Return the run that the event names, or None if the event isn't valid or its data is in storage."""
        event = await self.parse_event(message.body, cache)
        return (event.organization, event.state.run_id) if isinstance(event, ParsedEvent) else None

    async def reject(self, message: EventMessage, cache: IngestCache, reason: Reason, text: str) -> RejectedItem:
        """Return the item of an event that can't be stored. The reason of an invalid event replaces `reason`."""
        event = await self.parse_event(message.body, cache)
        rejected = event if isinstance(event, RejectedEvent) else event.to_rejected(reason, text)
        org_id = cache.organizations.get(rejected.organization or "")
        return _find_refused(rejected, org_id, self._sender(cache, message)) or RejectedItem(org_id, rejected)

    def _sender(self, cache: IngestCache, message: EventMessage) -> Sender:
        return Sender(message.user, cache.producers.get(message.user or "", ()), self._requires_producer)

    def _to_item(
        self, event: ParsedEvent | ParsedDataref | RejectedEvent, cache: IngestCache, sender: Sender
    ) -> BatchItem:
        if isinstance(event, ParsedDataref):
            return DatarefItem(event, self._storage_url, sender)
        org_id = cache.organizations.get(event.organization or "")
        if refused := _find_refused(event, org_id, sender):
            return refused
        if isinstance(event, RejectedEvent):
            return RejectedItem(org_id, event)
        if org_id is None:
            message = f"data.organization: organization {event.organization!r} not found"
            return RejectedItem(None, event.to_rejected("unknown_organization", message))
        outcomes, unseen = parse_results(event, cache.known_cases(org_id), cache.fingerprints)
        event.results = ()  # frees memory: unvalidated results take several times as much as outcomes
        if event.rejected_count and not outcomes:
            message = f"data.results: no result is valid: {event.list_reasons()}"
            return RejectedItem(org_id, event.to_rejected("no_valid_result", message))
        item = EventItem(org_id, event, outcomes, unseen)
        if (event.organization, event.state.run_id) in self.locked_runs:
            item.outcome = EventOutcome("postponed", message=LOCKED)
        return item


def _find_refused(event: ParsedEvent | RejectedEvent, org_id: OrgId | None, sender: Sender) -> RejectedItem | None:
    """Return the rejection if the sender can't write to the organization, or None. The organization gets no receipt."""
    if org_id is None or event.organization is None:
        return None
    project_id = event.state.project_id if isinstance(event, ParsedEvent) else event.project_id
    refusal = sender.find_refusal(org_id, event.organization, project_id)
    if refusal is None:
        return None
    return RejectedItem(None, RejectedEvent("producer_not_allowed", refusal, event.body_sha256))


async def _run(body: bytes, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads a body, in a thread if the body is large, so that the event loop continues."""
    if len(body) > LARGE_BODY_BYTES:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)
