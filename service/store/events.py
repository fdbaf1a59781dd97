"""Events as rows: written in the transaction of what they tell, numbered later, read by that number."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import asyncpg

from service.contracts.events import envelope
from service.domain.events import NewEvent
from service.domain.ids import OrgId, RunKey, first_id
from service.domain.streams import AFTER_LAST, BEFORE_FIRST, EventFilter, NumberedEvent
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.postgres.transactions import notify_after_commit

_SQL: Final = statements("events")

BUDGET: Final = 2_000  # events that one page examines

RunKeyRef = tuple[OrgId, RunKey]

WRITTEN: Final = "events_written"  # channels of notifications
NUMBERED: Final = "events_numbered"


class EventPage(NamedTuple):
    """Envelopes, and the place to go on from; None at the end."""

    events: list[bytes]
    next: int | None


async def insert(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Insert events and their deliveries, and notify the relay and the dispatchers after the commit.

    Requires a notifying transaction.
    """
    await connection.execute(_SQL["insert"], *map(list, zip(*events, strict=True)))
    notify_after_commit(WRITTEN)


async def insert_alone(connection: Connection, event: NewEvent) -> None:
    """Insert one event without deliveries. Requires a notifying transaction."""
    await connection.execute(_SQL["insert_alone"], *event)
    notify_after_commit(WRITTEN)


def notify_dispatchers() -> None:
    """Wake the dispatchers after the commit, because deliveries became due. Requires a notifying transaction."""
    notify_after_commit(WRITTEN)


async def number(connection: Connection) -> int:
    """Number some of the committed events, and notify their readers after the commit.

    Returns the number of events; 0 if there are none, or if another process holds the lock. Requires a notifying
    transaction.
    """
    if not await connection.fetchval(_SQL["lock_numbers"]):
        return 0
    count = int((await connection.execute(_SQL["number"])).split()[-1])
    if count:
        notify_after_commit(NUMBERED)
    return count


async def prune(connection: Connection, before_ms: int, limit: int) -> int:
    """Deletes at most so many of the events from before this moment (ms since 1970); returns how many."""
    return int(await connection.fetchval(_SQL["prune"], first_id("evt", before_ms), limit))


async def prune_deliveries(connection: Connection, before_ms: int, limit: int) -> int:
    """Deletes at most so many deliveries of events from before this moment (ms since 1970); returns how many."""
    return int(await connection.fetchval(_SQL["prune_deliveries"], first_id("dlv", before_ms), limit))


async def find_failing(connection: Connection, runs: Iterable[RunKeyRef], limit: int) -> list[asyncpg.Record]:
    """At most so many failing cases of each of these runs: run_key, what failed and what it said."""
    return await connection.fetch(_SQL["find_failing"], *map(list, zip(*runs, strict=True)), limit)


async def list_page(
    connection: Connection, org_id: OrgId, wanted: EventFilter, place: int, limit: int, *, ascending: bool
) -> EventPage:
    """The next events from a place on: the later ones, earliest first, or the earlier ones, latest first."""
    statement = _SQL["page_after" if ascending else "page_before"]
    rows = await connection.fetch(
        statement, org_id, place, list(wanted.types), wanted.run_id, wanted.project_id, limit, BUDGET
    )
    found = [envelope(*row[1:5]) for row in rows if row["number"] is not None]
    reached, examined = rows[0]["reached"], rows[0]["examined"]
    if len(found) == limit:
        last = rows[-1]["number"]
        return EventPage(found, last if last != reached or examined == BUDGET else None)
    return EventPage(found, reached if examined == BUDGET else None)


async def read_on(connection: Connection, org_id: OrgId, place: int, limit: int) -> list[NumberedEvent]:
    """The events behind a place, in order."""
    return [NumberedEvent(*row) for row in await connection.fetch(_SQL["read_on"], org_id, place, limit)]


async def find_ends(connection: Connection, org_id: OrgId) -> tuple[int, int]:
    """The last place in the stream, and the last one whose event is deleted."""
    row = await connection.fetchrow(_SQL["find_ends"], org_id)
    return (row["last"], row["pruned_to"]) if row else (BEFORE_FIRST, BEFORE_FIRST)


async def find_place(connection: Connection, org_id: OrgId, event_id: str) -> int | None:
    """The place of an event; one that has none yet stands behind all that have one. None where it is not there."""
    row = await connection.fetchrow(_SQL["find_number"], org_id, event_id)
    if row is None:
        return None
    return AFTER_LAST if row["number"] is None else int(row["number"])
