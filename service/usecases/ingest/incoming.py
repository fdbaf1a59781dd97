"""The events of a batch on their way into the store, each with what becomes of it."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from service.domain.errors import Reason, Rejected
from service.domain.ids import OrgId, mint_id
from service.store.postgres.database import Connection
from service.store.receipts import EventAddress, Receipt
from service.store.runs import RunAddress
from service.usecases.ingest.parse_events import ReferringEvent, RefusedEvent, RunEvent
from service.usecases.ingest.parse_results import Outcomes, Unseen
from service.usecases.ingest.validate_events import Problem
from service.usecases.reports.refer_report import refer_report

What = Literal["stored", "partial", "duplicate", "rejected"]


class Verdict(NamedTuple):
    """What became of one event. A rejected one belongs into the dead letters, with the reason."""

    what: What
    reason: Reason | None = None
    message: str | None = None
    results: int = 0  # that it brought into the store


@dataclass(slots=True)
class Incoming:
    """A readable event of a known organization on its way through a batch."""

    org_id: OrgId
    event: RunEvent
    outcomes: Outcomes
    unseen: Unseen
    verdict: Verdict = field(default=Verdict("stored"))

    @property
    def address(self) -> EventAddress:
        """What makes it a repetition of another."""
        return self.org_id, self.event.source, self.event.event_id

    @property
    def run(self) -> RunAddress:
        """The run that it tells of."""
        return self.org_id, self.event.facts.run_id

    def receipt(self) -> Receipt:
        """What it gets if it is stored."""
        event = self.event
        status = "partial" if event.rejected else "stored"
        return Receipt(
            self.org_id, mint_id("rcp"), event.source, event.event_id, event.body_sha256, status,
            event.facts.run_id, len(self.outcomes), event.problems,
        )  # fmt: skip

    def accept(self) -> None:
        """What becomes of it unless something stands against it."""
        self.verdict = Verdict("partial" if self.event.rejected else "stored", results=len(self.outcomes))

    def reject(self, reason: Reason, message: str) -> None:
        """Ends it after all."""
        self.verdict = Verdict("rejected", reason, message)


@dataclass(slots=True)
class Refused:
    """An event that is not stored, of an organization where it names a known one."""

    org_id: OrgId | None
    event: RefusedEvent

    @property
    def verdict(self) -> Verdict:
        """Why it goes to the dead letters."""
        return Verdict("rejected", self.event.reason, self.event.message)

    def receipt(self) -> Receipt | None:
        """The receipt, where the event said enough of itself to have one."""
        event = self.event
        if self.org_id is None or event.source is None or event.event_id is None:
            return None
        problems: list[Problem] = [{"index": None, "name": None, "reason": f"{event.reason}: {event.message}"}]
        return Receipt(
            self.org_id, mint_id("rcp"), event.source, event.event_id, event.body_sha256, "rejected",
            event.run_id, 0, problems,
        )  # fmt: skip


@dataclass(slots=True)
class Referred:
    """An event whose data is read later."""

    event: ReferringEvent
    storage_url: str
    verdict: Verdict = field(default=Verdict("stored"))

    async def queue(self, connection: Connection) -> None:
        """Leaves it to the readers of reports."""
        try:
            is_new = await refer_report(connection, self.event, self.storage_url)
            self.verdict = Verdict("stored" if is_new else "duplicate")
        except Rejected as rejection:
            self.verdict = Verdict("rejected", rejection.reason, str(rejection))


Item = Incoming | Refused | Referred
