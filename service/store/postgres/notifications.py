"""One connection that listens for a whole process, and everyone in it who waits for a notification."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

import asyncpg

from service.domain.backoff import backoff_delays
from service.store.postgres.database import Connection, is_outage

Callback = Callable[[Connection, int, str, object], None]

_LONGEST_WAIT_S: Final = 5.0


class Notifications:
    """Wakes whoever watches a channel: when it is notified, and after a time in which nobody could listen.

    A wake-up is a reason to look, not a promise that there is something; and who must not miss anything looks from
    time to time without one.
    """

    def __init__(self, pool: asyncpg.Pool, *channels: str) -> None:
        self._pool = pool
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._channels = channels

    @contextmanager
    def watching(self, channel: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is reason to look. Who has looked clears it first."""
        wake = asyncio.Event()
        self._watchers[channel].add(wake)
        try:
            yield wake
        finally:
            self._watchers[channel].discard(wake)

    async def run(self) -> None:
        """Listens until cancelled, on a new connection whenever one is lost."""
        pauses = backoff_delays(0.2, _LONGEST_WAIT_S)
        while True:
            try:
                await self._listen()
                pauses = backoff_delays(0.2, _LONGEST_WAIT_S)
            except Exception as error:
                if not is_outage(error):
                    raise
            await asyncio.sleep(next(pauses))

    async def _listen(self) -> None:
        """Until the connection is lost."""
        lost = asyncio.Event()
        async with self._pool.acquire() as connection, AsyncExitStack() as listening:
            connection.add_termination_listener(lambda _: lost.set())
            for channel in self._channels:
                await listening.enter_async_context(_listening(connection, channel, self._notified))
                self._wake(channel)
            await lost.wait()

    def _notified(self, _connection: Connection, _pid: int, channel: str, _payload: object) -> None:
        self._wake(channel)

    def _wake(self, channel: str) -> None:
        for wake in self._watchers[channel]:
            wake.set()


@asynccontextmanager
async def _listening(connection: Connection, channel: str, callback: Callback) -> AsyncIterator[None]:
    await connection.add_listener(channel, callback)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.remove_listener(channel, callback)


@asynccontextmanager
async def open_notifications(pool: asyncpg.Pool, *channels: str) -> AsyncIterator[Notifications]:
    """Listens on these channels while the block runs."""
    notifications = Notifications(pool, *channels)
    listening = asyncio.create_task(notifications.run())
    try:
        yield notifications
    finally:
        listening.cancel()
        await asyncio.wait({listening})
