"""Events for a caller: a page of the list, and the position at which a stream starts. The relay numbers events."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final, NamedTuple

from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.database.transactions import notifying_transaction
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import Gone, InvalidRequest, NotFound
from service.domain.ids import OrgId, id_timestamp_ms
from service.events import store
from service.events.contract import EventQuery
from service.events.model import AFTER_LAST, RETENTION_DAYS, EventFilter, StreamPosition
from service.events.store import MAX_NUMBERED, NumberedEvents
from service.identity.keys.model import Caller

_DELETED: Final = (
    f"events that follow this position were deleted, because the service keeps events for {RETENTION_DAYS} days"
)
_LOST: Final = (
    "a failover or a restored backup has lost the event of this position, and other events can have its number"
)

_CODEC: Final = CursorCodec[int](pack_bigint, unpack_bigint)
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RESET_EVERY_S: Final = 30.0


async def list_events(pool: Pool, caller: Caller, query: EventQuery) -> ListPage[bytes]:
    """Return the envelopes of events, newest first; with `after`, those that followed in ascending order.

    Raises InvalidRequest for a cursor of another list, and errors like `find_position` for `after`.
    """
    filters = EventFilter(query.types, query.run_id, caller.project_id)
    ascending = query.after is not None

    async def read(connection: Connection, position: int | None) -> RowPage[bytes, int]:
        if position is None:
            position = AFTER_LAST
            if query.after is not None:
                position = await find_position(connection, caller.org_id, query.after, "after")
        return await store.list_page(connection, caller.org_id, filters, position, query.limit, ascending=ascending)

    cursors = Cursors(_CODEC, "events", caller.org_id, {"ascending": ascending, **asdict(filters)})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_start(pool: Pool, org_id: OrgId, last_seen: str, param: str, live_from: int) -> int:
    """Return the event number after which a stream starts. The next event has a number greater than `live_from`.

    Raises errors like `find_position`.
    """
    async with as_organization(pool, org_id) as connection:
        position = await find_position(connection, org_id, last_seen, param)
    return live_from if position == AFTER_LAST else position


async def find_position(connection: Connection, org_id: OrgId, last_seen: str, param: str) -> int:
    """Return the event number of a position, or AFTER_LAST if its event isn't numbered yet.

    Raises Gone if a following event was deleted or events were lost, and NotFound if the ID of an event doesn't exist.
    """
    position = StreamPosition.parse(last_seen)
    if position is None:
        raise InvalidRequest(f"{param}: must be a position, or the ID or the number of an event", param)
    if position.event_id is not None:
        number = await store.find_number(connection, org_id, position.event_id)
        if number is not None:
            return number
    if position.number is None:
        raise _missing(str(position), param)
    return await _check_number(connection, org_id, position, position.number, param)


async def _check_number(
    connection: Connection, org_id: OrgId, position: StreamPosition, number: int, param: str
) -> int:
    """Return the number of a position whose event isn't stored, or whose ID is unknown. Raises Gone."""
    last, deleted_to = await store.find_bounds(connection, org_id)
    if number < deleted_to:
        raise _gone(_DELETED, param)
    if number > (last if position.event_id is None else deleted_to):
        raise _gone(_LOST, param)
    return number


def _gone(reason: str, param: str) -> Gone:
    return Gone(f"{param}: {reason}; start again without {param}")


def _missing(event_id: str, param: str) -> Gone | NotFound:
    """Return the error for an event that isn't stored. If it is older than the retention, following events can be
    deleted."""
    if id_timestamp_ms(event_id) < (time.time() - RETENTION_DAYS * 24 * 3600) * 1000:
        return _gone(_DELETED, param)
    return NotFound(f"{param}: event {event_id!r} not found")


class _Bound(NamedTuple):
    """A creation time that becomes the start if all transactions with a smaller ID have ended."""

    at: datetime
    next: int


class NumberingStart:
    """The creation time from which a process searches for events without a number.

    While an export has a snapshot, the index of these events also contains all events that were numbered since then.
    The start excludes them. Only a transaction that was open at the start can insert an event from before it, so the
    start moves only after all of these transactions have ended. A clock that is set back, or another server after a
    failover, can insert earlier events, so a process searches from the beginning every 30 s.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._bound: _Bound | None = None
        self._reset()

    def next(self) -> datetime:
        """Return the start of the next search."""
        if self._clock_s() >= self._reset_at_s:
            self._reset()
        return self._start

    def advance(self, numbered: NumberedEvents) -> None:
        """Move the start after a committed search, if it found all events."""
        bound = self._bound or _Bound(numbered.at, numbered.next)
        if numbered.total < MAX_NUMBERED and numbered.oldest_open >= bound.next:
            self._start, bound = bound.at, _Bound(numbered.at, numbered.next)
        self._bound = bound

    def _reset(self) -> None:
        self._start = _FIRST
        self._bound = None
        self._reset_at_s = self._clock_s() + _RESET_EVERY_S


async def number_events(pool: Pool, start: NumberingStart | None = None) -> int:
    """Number all committed events, and return how many were numbered. Any number of processes can call it."""
    start = start or NumberingStart()
    count = 0
    async with pool.acquire() as connection:
        while True:
            async with notifying_transaction(connection):
                numbered = await store.number(connection, start.next())
            if numbered is None:
                return count
            start.advance(numbered)
            if not numbered.total:
                return count
            count += numbered.total
