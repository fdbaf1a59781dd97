"""The loop that numbers events after their commit; part of the relay role."""

import asyncio

from consumers.loops import Loop, repeat_on_notifications
from service.store import events
from service.store.postgres.database import Connection, Pool
from service.usecases.events.number_events import NumberingStart, number_events


def numbering_loop(pool: Pool, stopping: asyncio.Event) -> Loop:
    """Return a loop that numbers events whenever a transaction has written some."""

    start = NumberingStart()

    async def number(_: Connection) -> bool:
        await number_events(pool, start)
        return False

    return lambda: repeat_on_notifications("event_numbering", pool, events.WRITTEN, number, stopping)
