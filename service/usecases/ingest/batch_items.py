"""The events of a batch on their way into the store, each with what becomes of it."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from service.domain.errors import Reason, Rejected
from service.domain.ids import OrgId, new_id
from service.store.postgres.database import Connection
from service.store.receipts import EventRef, Receipt
from service.store.runs import RunRef
from service.usecases.ingest.parse_events import ParsedDataref, ParsedEvent, RejectedEvent
from service.usecases.ingest.parse_results import CaseOutcomes, UnseenCases
from service.usecases.ingest.validate_events import Problem
from service.usecases.reports.accept_dataref import accept_dataref

EventStatus = Literal["stored", "partial", "duplicate", "rejected"]


class EventOutcome(NamedTuple):
    """What became of one event. A rejected one belongs into the dead letters, with the reason."""

    what: EventStatus
    reason: Reason | None = None
    message: str | None = None
    results: int = 0  # that it brought into the store


@dataclass(slots=True)
class EventItem:
    """A readable event of a known organization on its way through a batch."""

    org_id: OrgId
    event: ParsedEvent
    outcomes: CaseOutcomes
    unseen: UnseenCases
    verdict: EventOutcome = field(default=EventOutcome("stored"))

    @property
    def address(self) -> EventRef:
        """What makes it a repetition of another."""
        return self.org_id, self.event.source, self.event.event_id

    @property
    def run(self) -> RunRef:
        """The run that it tells of."""
        return self.org_id, self.event.state.run_id

    def receipt(self) -> Receipt:
        """What it gets if it is stored."""
        event = self.event
        status = "partial" if event.rejected else "stored"
        return Receipt(
            self.org_id, new_id("rcp"), event.source, event.event_id, event.body_sha256, status,
            event.state.run_id, len(self.outcomes), event.problems,
        )  # fmt: skip

    def accept(self) -> None:
        """What becomes of it unless something stands against it."""
        self.verdict = EventOutcome("partial" if self.event.rejected else "stored", results=len(self.outcomes))

    def reject(self, reason: Reason, message: str) -> None:
        """Ends it after all."""
        self.verdict = EventOutcome("rejected", reason, message)


@dataclass(slots=True)
class RejectedItem:
    """An event that is not stored, of an organization where it names a known one."""

    org_id: OrgId | None
    event: RejectedEvent

    @property
    def verdict(self) -> EventOutcome:
        """Why it goes to the dead letters."""
        return EventOutcome("rejected", self.event.reason, self.event.message)

    def receipt(self) -> Receipt | None:
        """The receipt, where the event said enough of itself to have one."""
        event = self.event
        if self.org_id is None or event.source is None or event.event_id is None:
            return None
        problems: list[Problem] = [{"index": None, "name": None, "reason": f"{event.reason}: {event.message}"}]
        return Receipt(
            self.org_id, new_id("rcp"), event.source, event.event_id, event.body_sha256, "rejected",
            event.run_id, 0, problems,
        )  # fmt: skip


@dataclass(slots=True)
class DatarefItem:
    """An event whose data is read later."""

    event: ParsedDataref
    storage_url: str
    verdict: EventOutcome = field(default=EventOutcome("stored"))

    async def queue(self, connection: Connection) -> None:
        """Leaves it to the readers of reports."""
        try:
            is_new = await accept_dataref(connection, self.event, self.storage_url)
            self.verdict = EventOutcome("stored" if is_new else "duplicate")
        except Rejected as rejection:
            self.verdict = EventOutcome("rejected", rejection.reason, str(rejection))


BatchItem = EventItem | RejectedItem | DatarefItem
