"""Waiting requests: one query per organization finds the finished objects for all requests of a process."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.log import log
from service.stopping import cancel_until_done, pause, raise_if_canceled
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.postgres.notifications import Notifications

Watched = TypeVar("Watched", bound=Hashable)
FindFinished = Callable[[Connection, OrgId, Sequence[Watched]], Awaitable[set[Watched]]]

_POLL_S: Final = 1.0  # in addition to the notifications, which can be lost
_MIN_INTERVAL_S: Final = 0.02  # combines frequent notifications into one query


class Watch(Generic[Watched]):
    """Wakes requests that wait for objects of one kind. `find_finished` returns which objects are finished."""

    def __init__(
        self, pool: Pool, notifications: Notifications, channel: str, find_finished: FindFinished[Watched]
    ) -> None:
        self._pool = pool
        self._notifications = notifications
        self._channel = channel
        self._find_finished = find_finished
        self._waiters: dict[OrgId, dict[Watched, set[asyncio.Event]]] = defaultdict(lambda: defaultdict(set))
        self._has_waiters = asyncio.Event()

    async def wait(self, org_id: OrgId, watched: Watched, timeout_s: float) -> None:
        """Return when the object is finished or the time is over."""
        finished = asyncio.Event()
        self._waiters[org_id][watched].add(finished)
        self._has_waiters.set()
        try:
            await pause(timeout_s, finished)
        finally:
            self._remove(org_id, watched, finished)

    def wake_all(self) -> None:
        """End every wait, because the process stops."""
        for waiters in self._waiters.values():
            _wake(waiters, set(waiters))

    async def run(self) -> None:
        """Run until the task is canceled. While requests wait, query after each notification and once per second."""
        with self._notifications.watching(self._channel) as notified:
            while True:
                await self._has_waiters.wait()
                notified.clear()
                await self._try_query()
                await pause(_POLL_S, notified)
                await asyncio.sleep(_MIN_INTERVAL_S)

    async def _try_query(self) -> None:
        """Query. After any error, the next iteration queries again."""
        try:
            await self._query()
        except Unavailable:
            raise_if_canceled()
        except Exception:
            raise_if_canceled()
            log.exception("watch_query_failed", channel=self._channel)

    async def _query(self) -> None:
        for org_id, waiters in list(self._waiters.items()):
            async with as_organization(self._pool, org_id) as connection:
                finished = await self._find_finished(connection, org_id, list(waiters))
            _wake(waiters, finished)

    def _remove(self, org_id: OrgId, watched: Watched, finished: asyncio.Event) -> None:
        waiters = self._waiters[org_id][watched]
        waiters.discard(finished)
        if not waiters:
            del self._waiters[org_id][watched]
        if not self._waiters[org_id]:
            del self._waiters[org_id]
        if not self._waiters:
            self._has_waiters.clear()


def _wake(waiters: dict[Watched, set[asyncio.Event]], finished: set[Watched]) -> None:
    for watched in finished & waiters.keys():
        for event in waiters[watched]:
            event.set()


@asynccontextmanager
async def watching(
    pool: Pool, notifications: Notifications, channel: str, find_finished: FindFinished[Watched]
) -> AsyncIterator[Watch[Watched]]:
    """Run a watch during the block."""
    watch = Watch(pool, notifications, channel, find_finished)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        await cancel_until_done(task)
