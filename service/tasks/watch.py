"""Waiting requests: one query finds the finished objects for all requests and organizations of a process."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from service.database.database import Connection, Pool
from service.database.errors import OutagesAsUnavailable
from service.database.notifications import Notifications
from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.log import log
from service.stopping import end_tasks, pause, raise_if_canceled

Watched = TypeVar("Watched", bound=Hashable)
FindFinished = Callable[[Connection, Sequence[tuple[OrgId, Watched]]], Awaitable[set[tuple[OrgId, Watched]]]]

_POLL_S: Final = 1.0  # in addition to the notifications, which can be lost
_MIN_INTERVAL_S: Final = 0.02  # combines frequent notifications into one query


class Watch(Generic[Watched]):
    """Wakes requests that wait for objects of one kind. `find_finished` returns which objects are finished.

    `worker_pool` has the role results_worker, because one query covers the objects of all organizations, so that the
    load of the database doesn't depend on the number of organizations.
    """

    def __init__(
        self, worker_pool: Pool, notifications: Notifications, channel: str, find_finished: FindFinished[Watched]
    ) -> None:
        self._worker_pool = worker_pool
        self._notifications = notifications
        self._channel = channel
        self._find_finished = find_finished
        self._waiters: dict[tuple[OrgId, Watched], set[asyncio.Event]] = defaultdict(set)
        self._has_waiters = asyncio.Event()

    async def wait(self, org_id: OrgId, watched: Watched, timeout_s: float) -> bool:
        """Wait until the object is finished or the time is over. Return whether the wait ended early."""
        finished = asyncio.Event()
        self._waiters[org_id, watched].add(finished)
        self._has_waiters.set()
        try:
            await pause(timeout_s, finished)
            return finished.is_set()
        finally:
            self._remove((org_id, watched), finished)

    def wake_all(self) -> None:
        """End every wait, because the process stops."""
        self._wake(set(self._waiters))

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
        async with OutagesAsUnavailable(), self._worker_pool.acquire() as connection:
            finished = await self._find_finished(connection, list(self._waiters))
        self._wake(finished)

    def _wake(self, finished: set[tuple[OrgId, Watched]]) -> None:
        for waited_for in finished & self._waiters.keys():
            for event in self._waiters[waited_for]:
                event.set()

    def _remove(self, waited_for: tuple[OrgId, Watched], finished: asyncio.Event) -> None:
        waiters = self._waiters[waited_for]
        waiters.discard(finished)
        if not waiters:
            del self._waiters[waited_for]
        if not self._waiters:
            self._has_waiters.clear()


@asynccontextmanager
async def watching(
    worker_pool: Pool, notifications: Notifications, channel: str, find_finished: FindFinished[Watched]
) -> AsyncIterator[Watch[Watched]]:
    """Run a watch during the block."""
    watch = Watch(worker_pool, notifications, channel, find_finished)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        await end_tasks([task])
