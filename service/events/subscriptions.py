"""Subscriptions to the event stream: one reader per organization and process, and a bounded queue per subscriber."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from service.database.database import Pool, as_organization, incarnation_of
from service.database.errors import OutagesAsUnavailable
from service.database.notifications import Notifications
from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.events import store
from service.events.model import BEFORE_FIRST, EventFilter, NumberedEvent
from service.log import log
from service.stopping import end_tasks, pause, raise_if_canceled

_MAX_QUEUED: Final = 500  # events; a slower subscriber is disconnected
_READ_LIMIT: Final = 500  # events
_WOKEN_TOGETHER: Final = 4  # subscribers; with 20, a list next to 1,000 streams waited for most of the writes
_BURST_S: Final = 0.0005  # of CPU time; after 20 ms without a pause, other processes also wait for the core
_PAUSE_RATIO: Final = 2  # so that distribution uses at most a third of the time; later events then share a write
_POLL_S: Final = 5.0  # in case a notification is lost
_MIN_INTERVAL_S: Final = 0.02  # combines frequent notifications into one query


class Disconnected(Exception):
    """The subscriber is too slow, or the process stops. The client can reconnect after its last event number."""


class Subscriber:
    """The queue of one subscriber with the events that match its filter. None in the queue marks its end."""

    def __init__(self, filter_: EventFilter) -> None:
        self.filter = filter_
        self._queue: asyncio.Queue[NumberedEvent | None] = asyncio.Queue(_MAX_QUEUED)
        self._is_disconnected = asyncio.Event()

    def enqueue(self, found: Sequence[NumberedEvent]) -> bool:
        """Add the events that match, and return whether there were any. If the queue is full, disconnect."""
        matching = [event for event in found if self.filter.matches(event)]
        for event in matching:
            if self._queue.full():
                self.disconnect()
                break
            self._queue.put_nowait(event)
        return bool(matching)

    def disconnect(self) -> None:
        """End the subscription, regardless of the events in the queue."""
        self._is_disconnected.set()
        if not self._queue.full():
            self._queue.put_nowait(None)

    async def next(self) -> Sequence[NumberedEvent]:
        """Wait for an event, and return all events in the queue. Raises Disconnected."""
        events = [await self._queue.get()]
        while not self._queue.empty():
            events.append(self._queue.get_nowait())
        if self._is_disconnected.is_set():
            raise Disconnected
        return [event for event in events if event is not None]

    async def wait_disconnected(self) -> None:
        """Wait until the subscriber is disconnected."""
        await self._is_disconnected.wait()


class EventSubscriptions:
    """The subscriptions of one process. An organization has a reader while it has subscribers.

    One query finds the organizations with new events, so that the load of the database doesn't depend on the number of
    organizations. `worker_pool` has the role results_worker, because that query covers several organizations.
    """

    def __init__(self, pool: Pool, worker_pool: Pool, notifications: Notifications) -> None:
        self._pool = pool
        self._worker_pool = worker_pool
        self._notifications = notifications
        self._readers: dict[OrgId, _EventReader] = {}
        self._has_readers = asyncio.Event()
        self._incarnation: str | None = None  # of the server, at the last query

    @asynccontextmanager
    async def subscribe(self, org_id: OrgId, filter_: EventFilter) -> AsyncIterator[tuple[Subscriber, int]]:
        """Yield a subscriber, and the event number after which it receives every event that matches.

        Raises Unavailable.
        """
        reader = self._readers.get(org_id)
        if reader is None or reader.has_ended:
            reader = self._readers[org_id] = _EventReader(self._pool, org_id)
            self._has_readers.set()
        subscriber = Subscriber(filter_)
        reader.subscribers.add(subscriber)
        try:
            yield subscriber, await reader.position()
        finally:
            reader.subscribers.discard(subscriber)
            if not reader.subscribers and self._readers.get(org_id) is reader:
                del self._readers[org_id]
                reader.stop()
            if not self._readers:
                self._has_readers.clear()

    def disconnect_all(self) -> None:
        """Disconnect all subscribers, because the process stops."""
        for reader in self._readers.values():
            reader.disconnect_all()

    async def run(self) -> None:
        """Run until the task is canceled. While there are readers, query after each notification and every 5 s."""
        with self._notifications.watching(store.EVENTS_NUMBERED) as notified:
            while True:
                await self._has_readers.wait()
                notified.clear()
                for reader in await self._find_readers_to_wake():
                    reader.wake.set()
                await pause(_POLL_S, notified)
                await asyncio.sleep(_MIN_INTERVAL_S)

    async def _find_readers_to_wake(self) -> list["_EventReader"]:
        """Return the readers that have events to read. After an error or a restart of the server, return all readers:
        an outage or a failover must end their streams."""
        readers = dict(self._readers)
        positions = {org_id: reader.read_to for org_id, reader in readers.items()}
        try:
            async with OutagesAsUnavailable(), self._worker_pool.acquire() as connection:
                earlier, self._incarnation = self._incarnation, incarnation_of(connection)
                if earlier not in (None, self._incarnation):
                    return list(readers.values())
                found = await store.find_followed_with_events(connection, positions)
        except Exception as error:
            raise_if_canceled()
            if not isinstance(error, Unavailable):
                log.exception("event_query_failed")
            return list(readers.values())
        return [readers[org_id] for org_id in found]


class _EventReader:
    """Reads the events of one organization once for all of its subscribers in this process."""

    def __init__(self, pool: Pool, org_id: OrgId) -> None:
        self.subscribers: set[Subscriber] = set()
        self.wake = asyncio.Event()
        self._pool = pool
        self._org_id = org_id
        self._position: int | None = None
        self._started = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    @property
    def read_to(self) -> int:
        """The number of the last event that was read."""
        return self._position or BEFORE_FIRST

    async def position(self) -> int:
        """Return the event number after which all current subscribers receive every event."""
        started = asyncio.create_task(self._started.wait())
        await asyncio.wait({started, self._task}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._position is None:
            raise Unavailable("events can't be read now; retry later")
        return self._position

    def stop(self) -> None:
        self._task.cancel()

    def disconnect_all(self) -> None:
        for subscriber in self.subscribers:
            subscriber.disconnect()

    async def _run(self) -> None:
        """Read until canceled. An outage or a restart of the server disconnects all subscribers; when they reconnect, a
        new reader starts. After a failover, events can have the numbers of events that this reader has read."""
        try:
            async with as_organization(self._pool, self._org_id) as connection:
                incarnation = incarnation_of(connection)
                self._position, _ = await store.find_bounds(connection, self._org_id)
            self._started.set()
            await self._read_all(incarnation)
        except Unavailable:
            pass
        finally:
            self.disconnect_all()

    async def _read_all(self, incarnation: str) -> None:
        while True:
            self.wake.clear()
            async with as_organization(self._pool, self._org_id) as connection:
                if incarnation_of(connection) != incarnation:
                    return
                found = await store.read_after(connection, self._org_id, self.read_to, _READ_LIMIT)
            if found:
                await self._distribute(found)
            else:
                await self.wake.wait()

    async def _distribute(self, found: Sequence[NumberedEvent]) -> None:
        """Pass events to the subscribers, a few in each iteration of the event loop, so that other requests continue.

        Pauses after each burst of CPU time, and at the end. A later subscriber starts after the events, because the
        position changes first.
        """
        self._position = found[-1].number
        woken, burst = 0, _Burst()
        for subscriber in list(self.subscribers):
            woken += subscriber.enqueue(found)
            if woken == _WOKEN_TOGETHER:
                woken = 0
                await asyncio.sleep(0)  # the subscribers write
                if burst.used_s() >= _BURST_S:
                    await burst.pause()
        await burst.pause()


class _Burst:
    """The CPU time that this thread has used since the last pause, also for other requests."""

    def __init__(self) -> None:
        self._started_s = time.thread_time()

    def used_s(self) -> float:
        return time.thread_time() - self._started_s

    async def pause(self) -> None:
        """Pause in proportion to the CPU time, and start the next burst."""
        await asyncio.sleep(self.used_s() * _PAUSE_RATIO)
        self._started_s = time.thread_time()


@asynccontextmanager
async def open_subscriptions(
    pool: Pool, worker_pool: Pool, notifications: Notifications
) -> AsyncIterator[EventSubscriptions]:
    """Open the subscriptions of a process during the block."""
    subscriptions = EventSubscriptions(pool, worker_pool, notifications)
    task = asyncio.create_task(subscriptions.run())
    try:
        yield subscriptions
    finally:
        await end_tasks([task])


async def read_range(pool: Pool, org_id: OrgId, after: int, last: int) -> AsyncIterator[NumberedEvent]:
    """Yield the events after the number `after`, up to and including the number `last`."""
    position = after
    while position < last:
        async with as_organization(pool, org_id) as connection:
            found = await store.read_after(connection, org_id, position, _READ_LIMIT)
        for event in found:
            if event.number > last:
                return
            yield event
        if not found:
            return
        position = found[-1].number
