"""Who waits for what: everyone in a process who waits for a thing to be done is woken by one look at the database."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.log import log
from service.stopping import pause
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.postgres.notifications import Notifications

Thing = TypeVar("Thing", bound=Hashable)
FindDone = Callable[[Connection, OrgId, Sequence[Thing]], Awaitable[set[Thing]]]

_POLL_S: Final = 1.0  # behind the notifications
_PAUSE_S: Final = 0.02  # so that a busy stream of notifications is one look, not many


class Watch(Generic[Thing]):
    """Wakes those who wait for things of one kind. `find_done` says which of some of an organization's are done."""

    def __init__(self, pool: Pool, notifications: Notifications, channel: str, find_done: FindDone[Thing]) -> None:
        self._pool = pool
        self._notifications = notifications
        self._channel = channel
        self._find_done = find_done
        self._waiting: dict[OrgId, dict[Thing, set[asyncio.Event]]] = defaultdict(lambda: defaultdict(set))
        self._anyone = asyncio.Event()

    async def wait(self, org_id: OrgId, thing: Thing, at_most_s: float) -> None:
        """Returns as soon as the thing is done, or at the end of the time."""
        done = asyncio.Event()
        self._waiting[org_id][thing].add(done)
        self._anyone.set()
        try:
            await pause(at_most_s, done)
        finally:
            self._forget(org_id, thing, done)

    def wake_all(self) -> None:
        """Ends every wait: the process stops."""
        for things in self._waiting.values():
            _wake(things, set(things))

    async def run(self) -> None:
        """Looks until cancelled: after each notification, and once a second, while anyone waits."""
        with self._notifications.watching(self._channel) as notified:
            while True:
                await self._anyone.wait()
                notified.clear()
                await self._look_if_possible()
                await pause(_POLL_S, notified)
                await asyncio.sleep(_PAUSE_S)

    async def _look_if_possible(self) -> None:
        """Whatever goes wrong, those who wait are looked for again."""
        try:
            await self._look()
        except Unavailable:
            pass
        except Exception:
            log.exception("watch_failed", channel=self._channel)

    async def _look(self) -> None:
        for org_id, things in list(self._waiting.items()):
            async with as_organization(self._pool, org_id) as connection:
                done = await self._find_done(connection, org_id, list(things))
            _wake(things, done)

    def _forget(self, org_id: OrgId, thing: Thing, done: asyncio.Event) -> None:
        waiting = self._waiting[org_id][thing]
        waiting.discard(done)
        if not waiting:
            del self._waiting[org_id][thing]
        if not self._waiting[org_id]:
            del self._waiting[org_id]
        if not self._waiting:
            self._anyone.clear()


def _wake(things: dict[Thing, set[asyncio.Event]], done: set[Thing]) -> None:
    for thing in done & things.keys():
        for waiter in things[thing]:
            waiter.set()


@asynccontextmanager
async def watching(
    pool: Pool, notifications: Notifications, channel: str, find_done: FindDone[Thing]
) -> AsyncIterator[Watch[Thing]]:
    """A watch that looks while the block runs."""
    watch = Watch(pool, notifications, channel, find_done)
    looking = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        looking.cancel()
        await asyncio.wait({looking})
