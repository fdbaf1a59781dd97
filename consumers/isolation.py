"""Isolation of messages that might crash a consumer, and the number of messages that consumers prefetch.

If a process crashes, the broker raises the delivery count of each message that the process had prefetched. So that a
message that always crashes raises only its own count, it must be the only message that the process has.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from service.store.crash_suspects import CrashSuspects

# Two batches for each batch that is handled concurrently, so that the next one has arrived when one is committed.
PREFETCH: Final = 100
PREFETCH_BYTES: Final = 16 * 2**20  # for each of these batches, estimated from the largest recent message

_ISOLATION_S: Final = 30.0  # after the last crash suspect
_TURN_S: Final = 0.3  # of an isolated subscription, if a consumer of another queue waits
_POLL_S: Final = 0.1
_SIZE_DECAY: Final = 0.98  # per message, so that the prefetch count rises again after large messages
_MIN_CHANGE: Final = 2  # a smaller factor doesn't justify a new subscription


class Isolation:
    """The state that all consumers of one queue, and of its queue for large messages, share in one process.

    While they are isolated, one consumer is subscribed and prefetches one message. After a restart, they are isolated
    until the first message without an earlier delivery arrives, because returned messages arrive first.
    """

    def __init__(self, suspects: CrashSuspects, clock_s: Callable[[], float]) -> None:
        self.suspects = suspects
        self.started = asyncio.Event()
        self._clock_s = clock_s
        self._until_s = 0.0
        self._largest_bytes = 1.0
        self._turn_ends_s = 0.0
        self.restart()

    def restart(self) -> None:
        """Isolate the queue until its first message arrives. All consumers call it before one of them subscribes.

        The subscriptions of an earlier connection no longer count, even if one of their tasks never ended.
        """
        self._subscribed: set[object] = set()
        self._turn = asyncio.Lock()  # waiting consumers get it in their order
        self._waiting: Counter[str] = Counter()  # consumers by queue
        self._is_probing = True
        self.started.set()

    @property
    def is_active(self) -> bool:
        """Whether only one message can be prefetched."""
        if not self._is_probing and self._clock_s() >= self._until_s:
            self.started.clear()
        return self.started.is_set()

    def observe(self, size_bytes: int, *, suspect: bool) -> None:
        """Record a message that arrived."""
        self._largest_bytes = max(size_bytes, self._largest_bytes * _SIZE_DECAY)
        self._is_probing = False
        if suspect:
            self._until_s = self._clock_s() + _ISOLATION_S
            self.started.set()

    def prefetch_count(self, concurrency: int) -> int:
        """Return the prefetch count for a new subscription that handles this number of batches concurrently."""
        if self.is_active:
            return 1
        return max(1, min(concurrency * PREFETCH, int(concurrency * PREFETCH_BYTES // self._largest_bytes)))

    def is_outdated(self, prefetch_count: int, concurrency: int) -> bool:
        """Return whether a subscription should be replaced by one with another prefetch count."""
        target = self.prefetch_count(concurrency)
        return not prefetch_count / _MIN_CHANGE < target < prefetch_count * _MIN_CHANGE

    @asynccontextmanager
    async def subscription(self, queue: str) -> AsyncIterator[bool]:
        """Wait until the consumer can subscribe. Provide whether its messages are isolated.

        While the queues are isolated, only one consumer is subscribed. The others wait for their turn.
        """
        async with AsyncExitStack() as turn:
            if self.is_active:
                await self._wait_for_turn(turn, queue)
            isolated = self.is_active
            if not isolated:
                await turn.aclose()
            subscribed, subscription = self._subscribed, object()
            subscribed.add(subscription)
            try:
                yield isolated
            finally:
                subscribed.discard(subscription)

    async def _wait_for_turn(self, turn: AsyncExitStack, queue: str) -> None:
        waiting = self._waiting
        waiting[queue] += 1
        try:
            await turn.enter_async_context(self._turn)
            while self.is_active and self._subscribed:  # noqa: ASYNC110 - the end has no event
                await asyncio.sleep(_POLL_S)
        finally:
            waiting[queue] -= 1
        self._turn_ends_s = self._clock_s() + _TURN_S

    def is_turn(self, queue: str) -> bool:
        """Return whether the isolated subscription of this queue can continue."""
        others = any(count for name, count in self._waiting.items() if name != queue)
        return self.is_active and not (others and self._clock_s() >= self._turn_ends_s)

    async def wait_for_end_of_turn(self, queue: str) -> None:
        """Wait until the isolated subscription of this queue must end, which has no other signal without messages."""
        while self.is_turn(queue):  # noqa: ASYNC110 - the end has no event
            await asyncio.sleep(_POLL_S)
