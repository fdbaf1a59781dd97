"""Queries for events: inserted in the transaction of the change, numbered after its commit, read by event number."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import orjson

from service.comparison.model import FailingCaseRow
from service.database import pages
from service.database.database import Connection
from service.database.pages import RowPage, fetch_requested
from service.database.statements import statements
from service.database.transactions import notify_after_commit
from service.domain.ids import OrgId, first_id
from service.events.contract import envelope
from service.events.model import (
    AFTER_LAST,
    BEFORE_FIRST,
    INTERNAL_TYPES,
    EventFilter,
    InternalEvent,
    NewEvent,
    NumberedEvent,
)
from service.runs.store import RunKeyRef
from service.tracing import spans

_SQL: Final = statements("events")

SCAN_BUDGET: Final = 2_000  # events that one page query examines
MAX_NUMBERED: Final = 1_000  # events per transaction

# Notification channels
EVENTS_WRITTEN: Final = "events_written"
EVENTS_NUMBERED: Final = "events_numbered"


async def insert(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Insert events and their deliveries, and notify the numbering of events and the dispatchers after the commit.

    Requires a notifying transaction.
    """
    # The driver would encode a list of lists as an array of two dimensions.
    owners = [orjson.dumps(list(event.owners)).decode() if event.owners else None for event in events]
    *columns, _, states = map(list, zip(*_traced(events), strict=True))
    await connection.execute(_SQL["insert"], *columns, owners, states)
    _notify_written(events)


async def insert_internal(connection: Connection, events: Sequence[InternalEvent]) -> None:
    """Insert internal events, and notify the numbering of events after the commit. Requires a notifying transaction."""
    await connection.execute(_SQL["insert_internal"], *map(list, zip(*events, strict=True)))
    _notify_written(events)


async def insert_without_deliveries(connection: Connection, event: NewEvent) -> None:
    """Insert one event without deliveries. Requires a notifying transaction."""
    await connection.execute(_SQL["insert_without_deliveries"], *_traced([event])[0][:7])
    _notify_written([event])


def _notify_written(events: Sequence[NewEvent | InternalEvent]) -> None:
    notify_after_commit(EVENTS_WRITTEN, {event.org_id for event in events})


def _traced(events: Sequence[NewEvent]) -> Sequence[NewEvent]:
    """Add the current trace context, if there is one, to the events that have none."""
    context = spans.current_context()
    if context is None:
        return events
    return [event if event.trace_context else event._replace(trace_context=context) for event in events]


def notify_dispatchers(org_id: OrgId) -> None:
    """Wake the dispatchers after the commit, because deliveries became due. Requires a notifying transaction."""
    notify_after_commit(EVENTS_WRITTEN, [org_id])


class NumberedEvents(NamedTuple):
    """The events that a transaction numbered: their total, and the IDs of the transactions when it began.

    All transactions from before `at` have an ID less than `next`, and those before `oldest_open` have ended.
    """

    total: int
    at: datetime
    oldest_open: int
    next: int


async def number(connection: Connection, created_since: datetime) -> NumberedEvents | None:
    """Number at most MAX_NUMBERED of the committed events, and notify their readers after the commit.

    Returns None if another process has the lock. Requires a notifying transaction.
    """
    locked = await connection.fetchrow(_SQL["lock_numbers"])
    if locked is None:
        return None
    count = int((await connection.execute(_SQL["number"], created_since, MAX_NUMBERED)).split()[-1])
    if count:
        notify_after_commit(EVENTS_NUMBERED)
    return NumberedEvents(count, *locked)


async def prune(connection: Connection, before_ms: int, limit: int) -> int:
    """Delete at most `limit` events from before this time (ms since 1970), and return their number."""
    return int(await connection.fetchval(_SQL["prune"], first_id("evt", before_ms), limit))


async def prune_deliveries(connection: Connection, before_ms: int, limit: int) -> int:
    """Delete at most `limit` deliveries of events from before this time (ms since 1970), and return their number."""
    return int(await connection.fetchval(_SQL["prune_deliveries"], first_id("dlv", before_ms), limit))


async def find_failing_cases(connection: Connection, runs: Iterable[RunKeyRef], limit: int) -> list[FailingCaseRow]:
    """Return at most `limit` failing cases of each of the runs, with the summary of the failure."""
    rows = await fetch_requested(connection, "failing_cases_of_runs", runs, ["run_keys"], limit=limit)
    return list(map(FailingCaseRow._make, rows))


async def list_page(
    connection: Connection, org_id: OrgId, filters: EventFilter, position: int, limit: int, *, ascending: bool
) -> RowPage[bytes, int]:
    """Return a page of envelopes: after an event number in ascending order, or before it in descending order.

    The page ends early if it is large or if `SCAN_BUDGET` events were examined.
    """
    statement = _SQL["page_after" if ascending else "page_before"]
    rows = await connection.fetch(
        statement,
        org_id,
        position,
        list(filters.types),
        filters.run_id,
        filters.project_id,
        limit,
        SCAN_BUDGET,
        pages.MAX_PAGE_BYTES,
        INTERNAL_TYPES,
    )
    found = [envelope(*row[1:5]) for row in rows if row["number"] is not None]
    reached, examined = rows[0]["reached"], rows[0]["examined"]
    if len(found) == limit or len(found) < rows[0]["matching"]:
        last = rows[-1]["number"]
        return RowPage(found, last if last != reached or examined == SCAN_BUDGET else None)
    return RowPage(found, reached if examined == SCAN_BUDGET else None)


async def read_after(connection: Connection, org_id: OrgId, position: int, limit: int) -> list[NumberedEvent]:
    """Return the first `limit` events after an event number, in ascending order."""
    return [NumberedEvent(*row) for row in await connection.fetch(_SQL["read_after"], org_id, position, limit)]


async def find_followed_with_events(connection: Connection, positions: Mapping[OrgId, int]) -> list[OrgId]:
    """Return the organizations that have events after their position. Requires the role results_worker."""
    rows = await connection.fetch(_SQL["find_followed_with_events"], list(positions), list(positions.values()))
    return [OrgId(row["org_id"]) for row in rows]


async def find_bounds(connection: Connection, org_id: OrgId) -> tuple[int, int]:
    """Return the last event number of an organization, and the last event number that was deleted."""
    row = await connection.fetchrow(_SQL["find_bounds"], org_id)
    return (row["last"], row["pruned_to"]) if row else (BEFORE_FIRST, BEFORE_FIRST)


async def find_number(connection: Connection, org_id: OrgId, event_id: str) -> int | None:
    """Return the number of an event, `AFTER_LAST` if it isn't numbered yet, or None if it doesn't exist."""
    row = await connection.fetchrow(_SQL["find_number"], org_id, event_id)
    if row is None:
        return None
    return AFTER_LAST if row["number"] is None else int(row["number"])
