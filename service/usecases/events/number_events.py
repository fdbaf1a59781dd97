"""Numbering of committed events, by one process at a time, so that no reader skips an event that commits late."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from service.store import events
from service.store.events import MAX_NUMBERED, NumberedEvents
from service.store.postgres.database import Pool
from service.store.postgres.transactions import notifying_transaction

_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RESET_EVERY_S: Final = 30.0


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
                numbered = await events.number(connection, start.next())
            if numbered is None:
                return count
            start.advance(numbered)
            if not numbered.total:
                return count
            count += numbered.total
