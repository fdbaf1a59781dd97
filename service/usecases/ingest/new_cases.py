"""Cases that nobody has stored yet: they are there before any result names them."""

from collections.abc import Sequence
from typing import Protocol

from service.domain.cases import KnownCases
from service.domain.ids import OrgId
from service.store import cases
from service.store.postgres.database import Connection
from service.usecases.ingest.parse_events import ParsedEvent
from service.usecases.ingest.parse_results import CLASH, CaseOutcomes, UnseenCases


class NamesCases(Protocol):
    """Results on their way in, with the cases among them that may be new."""

    @property
    def org_id(self) -> OrgId: ...
    @property
    def event(self) -> ParsedEvent: ...
    @property
    def outcomes(self) -> CaseOutcomes: ...
    @property
    def unseen(self) -> UnseenCases: ...


async def insert_unseen_cases(connection: Connection, known: KnownCases, incoming: Sequence[NamesCases]) -> None:
    """Stores them, outside of the caller's transaction, and drops the outcomes of those that clash with others.

    Only when the cases are committed may other batches take them for stored.
    """
    unseen = {(item.org_id, key): case for item in incoming for key, (_, case) in item.unseen.items()}
    if not unseen:
        return
    stored = await cases.insert_unseen(connection, unseen)
    for item in incoming:
        for key, (index, case) in item.unseen.items():
            if case.is_same(stored[item.org_id, key]):
                known.add(item.org_id, case, key)
            elif item.outcomes.pop(key, None):
                item.event.reject(index, case.name, CLASH)
