"""Gives events their places in the stream as soon as they are committed; part of the relay's work."""

import asyncio
from typing import Final

from consumers.loops import Loop, pause, retry_on_outage
from service.store import events
from service.store.postgres.database import Pool
from service.usecases.events.number_events import number_events

_POLL_S: Final = 1.0  # behind the notifications


def numbering(pool: Pool, stopping: asyncio.Event) -> Loop:
    """A loop that numbers whenever events were written."""
    wake = asyncio.Event()

    async def listen() -> None:
        async with pool.acquire() as listener, events.listening(listener, events.WRITTEN, wake.set):
            while not stopping.is_set() and not listener.is_closed():
                wake.clear()
                await number_events(pool)
                await pause(_POLL_S, wake, stopping)
        if not stopping.is_set():
            raise ConnectionResetError("the connection that listens is lost")

    return lambda: retry_on_outage("numbering", listen, stopping)
