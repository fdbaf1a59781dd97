"""Who follows the events of an organization as they happen: one reader for all of them, a bounded queue for each."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from service.domain.errors import Gone, InvalidRequest, NotFound, Unavailable
from service.domain.events import RETENTION_DAYS
from service.domain.ids import OrgId, id_timestamp_ms, is_id
from service.domain.streams import NumberedEvent
from service.stopping import pause
from service.store import events
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.postgres.notifications import Notifications

_QUEUE: Final = 500  # events that a subscriber may be behind before it is cut
_PAGE: Final = 500
_POLL_S: Final = 5.0  # behind the notifications


class Disconnected(Exception):
    """The subscriber is too slow, or the process stops; it may come again from its last place."""


class Subscriber:
    """What one subscriber has still to see. None in the queue is the end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[NumberedEvent | None] = asyncio.Queue(_QUEUE)
        self._is_cut = asyncio.Event()

    def tell(self, event: NumberedEvent) -> None:
        """Queues an event; one that is that far behind is cut instead."""
        if self._queue.full():
            self.cut()
        else:
            self._queue.put_nowait(event)

    def cut(self) -> None:
        """Ends it, whatever it still has to see."""
        self._is_cut.set()
        if not self._queue.full():
            self._queue.put_nowait(None)

    async def next(self) -> NumberedEvent:
        """The next event. Raises Disconnected."""
        event = await self._queue.get()
        if event is None or self._is_cut.is_set():
            raise Disconnected
        return event

    async def until_cut(self) -> None:
        """Returns when it is cut."""
        await self._is_cut.wait()


class EventSubscriptions:
    """The subscriptions of one process. An organization has one while somebody follows it."""

    def __init__(self, pool: Pool, notifications: Notifications) -> None:
        self._pool = pool
        self._notifications = notifications
        self._feeds: dict[OrgId, _Feed] = {}

    @asynccontextmanager
    async def following(self, org_id: OrgId) -> AsyncIterator[tuple[Subscriber, int]]:
        """A subscriber, and the place in the stream from which on it will be told of everything."""
        feed = self._feeds.get(org_id)
        if feed is None or feed.has_ended:
            feed = self._feeds[org_id] = _Feed(self._pool, self._notifications, org_id)
        subscriber = Subscriber()
        feed.subscribers.add(subscriber)
        try:
            yield subscriber, await feed.place()
        finally:
            feed.subscribers.discard(subscriber)
            if not feed.subscribers and self._feeds.get(org_id) is feed:
                del self._feeds[org_id]
                feed.end()

    def end(self) -> None:
        """Cuts everyone: the process stops."""
        for feed in self._feeds.values():
            feed.cut_all()


class _Feed:
    """Reads the events of one organization, once, for all that follow it here."""

    def __init__(self, pool: Pool, notifications: Notifications, org_id: OrgId) -> None:
        self.subscribers: set[Subscriber] = set()
        self._pool = pool
        self._notifications = notifications
        self._org_id = org_id
        self._place: int | None = None
        self._started = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    async def place(self) -> int:
        """Everything behind this place is told to whoever is among the subscribers now."""
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({started, self._task}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._place is None:
            raise Unavailable("the events can't be read now")
        return self._place

    def end(self) -> None:
        self._task.cancel()

    def cut_all(self) -> None:
        for subscriber in self.subscribers:
            subscriber.cut()

    async def _run(self) -> None:
        """Until cancelled. An outage cuts everyone: they come again, and a new feed begins."""
        try:
            async with as_organization(self._pool, self._org_id) as connection:
                self._place, _ = await events.find_ends(connection, self._org_id)
            self._started.set()
            await self._follow()
        except Unavailable:
            pass
        finally:
            self.cut_all()

    async def _follow(self) -> None:
        with self._notifications.watching(events.NUMBERED) as wake:
            while True:
                wake.clear()
                if not await self._read_on():
                    await pause(_POLL_S, wake)

    async def _read_on(self) -> bool:
        """Tells what is new; whether there was something."""
        async with as_organization(self._pool, self._org_id) as connection:
            found = await events.read_on(connection, self._org_id, self._place or 0, _PAGE)
        for event in found:
            for subscriber in self.subscribers:
                subscriber.tell(event)
            self._place = event.number
        return bool(found)


async def find_start(pool: Pool, org_id: OrgId, last_seen: str | None, live_from: int) -> int:
    """The place behind which a subscriber has seen nothing: that of an event, or of a number from the stream.

    Without one it is the present. Raises Gone where what follows is partly deleted, NotFound for an unknown event.
    """
    if last_seen is None:
        return live_from
    async with as_organization(pool, org_id) as connection:
        if not last_seen.isdecimal():
            return min(await find_place(connection, org_id, last_seen), live_from)
        _, pruned_to = await events.find_ends(connection, org_id)
    if int(last_seen) < pruned_to:
        raise _gone()
    return int(last_seen)


async def find_place(connection: Connection, org_id: OrgId, event_id: str) -> int:
    """The place of an event. Raises Gone where what follows may be deleted, NotFound where it never was."""
    if not is_id("evt", event_id):
        raise InvalidRequest("after: must be the id of an event", "after")
    place = await events.find_place(connection, org_id, event_id)
    if place is not None:
        return place
    if id_timestamp_ms(event_id) < (time.time() - RETENTION_DAYS * 24 * 3600) * 1000:
        raise _gone()
    raise NotFound(f"there is no event {event_id!r}")


def _gone() -> Gone:
    return Gone(f"events are kept for {RETENTION_DAYS} days, and some that follow this one are deleted")


async def read_up_to(pool: Pool, org_id: OrgId, place: int, last: int) -> AsyncIterator[NumberedEvent]:
    """What lies between two places, the second one included."""
    while place < last:
        async with as_organization(pool, org_id) as connection:
            found = await events.read_on(connection, org_id, place, _PAGE)
        for event in found:
            if event.number > last:
                return
            yield event
        if not found:
            return
        place = found[-1].number
