"""Storage of cases before the results that reference them."""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol

from service.domain.cases import Case, KnownCases
from service.domain.ids import OrgId
from service.domain.results import can_have_failed
from service.domain.shards import CaseOutcomes
from service.store import cases
from service.store.cases import CaseKeyRef
from service.store.postgres.database import Connection
from service.usecases.ingest.parse_events import ParsedEvent
from service.usecases.ingest.parse_results import KEY_COLLISION, UnseenCases

_PART: Final = 500  # cases that are processed without an interruption of the event loop


class ResultsWithCases(Protocol):
    """Parsed results of one event, with the cases that might not be stored yet."""

    @property
    def org_id(self) -> OrgId: ...
    @property
    def event(self) -> ParsedEvent: ...
    @property
    def outcomes(self) -> CaseOutcomes: ...
    @property
    def unseen(self) -> UnseenCases: ...


async def insert_unseen_cases(connection: Connection, known: KnownCases, items: Sequence[ResultsWithCases]) -> None:
    """Insert and commit the unseen cases, and reject the results whose case collides with a different stored case.

    Call this outside of a transaction: other batches can use a case only after its commit.
    """
    unseen = {(item.org_id, key): case for item in items for key, (_, case) in item.unseen.items()}
    if not unseen:
        return
    stored: dict[CaseKeyRef, Case] = {}
    refs = iter(sorted(unseen))
    while part := list(islice(refs, _PART)):
        stored |= await cases.insert_unseen(connection, {ref: unseen[ref] for ref in part})
    for item in items:
        for number, (key, (index, case)) in enumerate(item.unseen.items(), 1):
            if number % _PART == 0:
                await asyncio.sleep(0)
            if case.is_same(stored[item.org_id, key]):
                known.add(item.org_id, case, key)
            elif outcome := item.outcomes.pop(key, None):
                item.event.reject(index, case.name, KEY_COLLISION, failing=can_have_failed(outcome))
