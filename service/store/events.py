"""Events as rows: written in the transaction of what they tell, numbered later, read by that number."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from service.domain.events import NewEvent
from service.domain.ids import OrgId, RunKey, first_id
from service.store.database import Connection
from service.store.statements import statements

_SQL: Final = statements("events")

RunAddress = tuple[OrgId, RunKey]

WRITTEN: Final = "events_written"  # channels of notifications
NUMBERED: Final = "events_numbered"


async def insert(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Stores events, with their deliveries, inside the caller's transaction. Call `announce` once it has committed."""
    await connection.execute(_SQL["insert"], *map(list, zip(*events, strict=True)))


async def insert_alone(connection: Connection, event: NewEvent) -> None:
    """Stores an event for the stream and the list; the caller decides whether it is delivered to anyone."""
    await connection.execute(_SQL["insert_alone"], *event)


async def announce(connection: Connection) -> None:
    """Wakes who numbers and who delivers. After the commit: a notification inside would make commits queue up."""
    await connection.execute(_SQL["announce_written"])


async def number(connection: Connection) -> int:
    """Numbers some of the committed events and tells their readers once the caller's transaction has committed.

    Returns how many; 0 where there are none, or where another process holds the lock.
    """
    if not await connection.fetchval(_SQL["lock_numbers"]):
        return 0
    count = int((await connection.execute(_SQL["number"])).split()[-1])
    if count:
        await connection.execute(_SQL["announce_numbers"])
    return count


async def prune(connection: Connection, before_ms: int) -> int:
    """Deletes some of the events from before this moment (ms since 1970) with their deliveries; returns how many."""
    pruned: int = await connection.fetchval(_SQL["prune"], first_id("evt", before_ms))
    await connection.execute(_SQL["prune_deliveries"], first_id("dlv", before_ms))
    return pruned


async def find_failing(connection: Connection, runs: Iterable[RunAddress], limit: int) -> list[asyncpg.Record]:
    """At most so many failing cases of each of these runs: run_key, what failed and what it said."""
    return await connection.fetch(_SQL["find_failing"], *map(list, zip(*runs, strict=True)), limit)


@asynccontextmanager
async def listening(connection: Connection, channel: str, wake: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `wake` for each notification on the channel, while the block runs."""

    def notified(*_: object) -> None:
        wake()

    await connection.add_listener(channel, notified)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.remove_listener(channel, notified)
