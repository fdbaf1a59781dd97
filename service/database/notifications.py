"""PostgreSQL notifications: one listening connection per process, and the tasks that it wakes."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Final, cast

import asyncpg

from service.database.connections import ScopedConnection
from service.database.database import Connection, is_lost, terminate
from service.database.errors import DRIVER_ERRORS, is_outage
from service.domain.backoff import Backoff
from service.domain.ids import OrgId
from service.retries import with_retries
from service.stopping import end_tasks, pause

_LONGEST_DELAY_S: Final = 5.0
_MAX_NAMED: Final = 500  # organizations; a payload has at most 8,000 bytes
_PROBE_EVERY_S: Final = 10.0  # a half-open connection would never receive a notification
_UNLISTEN_TIMEOUT_S: Final = 5.0  # a process that stops must not wait longer for a suspended server


class Notifications:
    """Wakes the tasks that watch a channel: after each notification, and after a time without a listening connection.

    A wake-up is a reason to query the database, not a promise that anything changed. Notifications can be lost with
    the connection, so a task that must not miss a change also polls.
    """

    def __init__(self, pool: asyncpg.Pool, *channels: str) -> None:
        self._pool = pool
        self._watchers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._channels = channels

    @contextmanager
    def watching(self, channel: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever there is a reason to query. The watcher clears it before it queries."""
        wake = asyncio.Event()
        self._watchers[channel].add(wake)
        try:
            yield wake
        finally:
            self._watchers[channel].discard(wake)

    async def run(self) -> None:
        """Listen until canceled, on a new connection after each loss."""
        backoff = Backoff(0.2, _LONGEST_DELAY_S)
        await with_retries(partial(self._listen, backoff), is_outage, backoff)

    async def _listen(self, backoff: Backoff) -> None:
        """Listen until the connection is lost. Raises ConnectionResetError then."""
        lost = asyncio.Event()
        async with self._pool.acquire() as connection, AsyncExitStack() as listeners:
            connection.add_termination_listener(lambda _: lost.set())
            for channel in self._channels:
                await listeners.enter_async_context(listening(connection, channel, partial(self._wake, channel)))
                self._wake(channel)
            backoff.reset()
            while not is_lost(connection):
                await cast("ScopedConnection", connection).probe()
                await pause(_PROBE_EVERY_S, lost)
        raise ConnectionResetError("the listening connection was lost")

    def _wake(self, channel: str, _org_ids: object = None) -> None:
        for wake in self._watchers[channel]:
            wake.set()


@asynccontextmanager
async def listening(
    connection: Connection, channel: str, notified: Callable[[set[OrgId]], object]
) -> AsyncIterator[None]:
    """Call `notified` for each notification on the channel while the block runs.

    Its argument has the organizations to which the notification applies. An empty set means any organization.
    """

    def receive(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        notified(_from_payload(str(payload)))

    await connection.add_listener(channel, receive)
    try:
        yield
    finally:
        await _end_listening(connection, channel, receive)


async def _end_listening(connection: Connection, channel: str, receive: Callable[..., None]) -> None:
    """Remove the listener. Terminate the connection if it is lost, or if the server doesn't respond."""
    try:
        if not is_lost(connection):
            async with asyncio.timeout(_UNLISTEN_TIMEOUT_S):
                return await connection.remove_listener(channel, receive)
    except (OSError, *DRIVER_ERRORS):
        pass  # it would replace the error or the cancellation of the block
    except BaseException:
        terminate(connection)
        raise
    return terminate(connection)  # a closed connection keeps its listeners, about which the pool would warn


def to_payload(org_ids: Collection[OrgId | None]) -> str:
    """Return the payload for these organizations. If one is None, or if they are too many, it applies to any."""
    return "" if None in org_ids or len(org_ids) > _MAX_NAMED else ",".join(map(str, org_ids))


def _from_payload(payload: str) -> set[OrgId]:
    return {OrgId(int(org_id)) for org_id in payload.split(",") if org_id}


@asynccontextmanager
async def open_notifications(pool: asyncpg.Pool, *channels: str) -> AsyncIterator[Notifications]:
    """Listen on these channels while the block runs."""
    notifications = Notifications(pool, *channels)
    listener = asyncio.create_task(notifications.run())
    try:
        yield notifications
    finally:
        await end_tasks([listener])
