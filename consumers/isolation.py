"""Isolation of messages that might have crashed a consumer, and the prefetch counts of subscriptions."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from service.tasks.store import CrashSuspects

# Two batches for each batch that is handled concurrently, so that the next one has arrived when one is committed.
PREFETCH: Final = 100
PREFETCH_BYTES: Final = 16 * 2**20  # for each of these batches, estimated from the largest recent message

_ISOLATION_S: Final = 30.0  # after the last crash suspect
_TURN_S: Final = 0.3  # of an isolated subscription, if a consumer of another queue waits
_SIZE_DECAY: Final = 0.98  # per message, so that the prefetch count rises again after large messages
_MIN_CHANGE: Final = 2  # a smaller factor doesn't justify a new subscription


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """A consumer that is subscribed to its queue, or waits until it can subscribe."""

    queue: str
    concurrency: int  # batches
    changed: asyncio.Event  # set if the subscription can start or is outdated
    prefetch_count: int = 1
    is_isolated: bool = True


class Isolation:
    """The state that all consumers of one queue, and of its queue for large messages, share in one process.

    While they are isolated, one consumer is subscribed and prefetches one message. After a restart, they are isolated
    until the first message without an earlier delivery arrives, because returned messages arrive first.
    """

    def __init__(self, suspects: CrashSuspects, clock_s: Callable[[], float]) -> None:
        self.suspects = suspects
        self.clock_s = clock_s
        self._until_s = 0.0
        self._largest_bytes = 1.0
        self._turn_ends_s = 0.0
        self.restart()

    def restart(self) -> None:
        """Isolate the queue until its first message arrives. All consumers call it before one of them subscribes.

        The subscriptions of an earlier connection no longer count, even if one of their tasks never ended.
        """
        self._subscribed: set[Subscription] = set()
        self._waiting: dict[str, asyncio.Event] = {}  # by queue, in the order in which they get a turn
        self._is_probing = True

    @property
    def is_active(self) -> bool:
        """Whether only one message can be prefetched."""
        return self._is_probing or self.clock_s() < self._until_s

    def observe(self, size_bytes: int, *, suspect: bool) -> None:
        """Record a message that arrived."""
        was_active = self.is_active
        self._largest_bytes = max(size_bytes, self._largest_bytes * _SIZE_DECAY)
        self._is_probing = False
        if suspect:
            self._until_s = self.clock_s() + _ISOLATION_S
        if self.is_active != was_active:
            self._wake_subscribed()

    def prefetch_count(self, concurrency: int) -> int:
        """Return the prefetch count for a new subscription that handles this number of batches concurrently."""
        if self.is_active:
            return 1
        return max(1, min(concurrency * PREFETCH, int(concurrency * PREFETCH_BYTES // self._largest_bytes)))

    def try_subscribe(self, queue: str, concurrency: int, changed: asyncio.Event) -> Subscription | None:
        """Return a subscription that starts now. Return None, and set `changed` later, if other consumers are first.

        While the queues are isolated, only one consumer is subscribed. The others wait for their turn.
        """
        if self.is_active:
            self._waiting.setdefault(queue, changed)
            if self._subscribed or queue != next(iter(self._waiting)):
                self._wake_subscribed()
                return None
            self._turn_ends_s = self.clock_s() + _TURN_S
        self._waiting.pop(queue, None)
        subscription = Subscription(queue, concurrency, changed, self.prefetch_count(concurrency), self.is_active)
        self._subscribed.add(subscription)
        return subscription

    def stop_waiting(self, queue: str) -> None:
        """Give up the turn of a queue. The turn of a queue that stays empty would otherwise never end."""
        self._waiting.pop(queue, None)

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription whose messages are all acknowledged or returned to the queue."""
        self._subscribed.discard(subscription)
        for changed in self._waiting.values():
            changed.set()

    def is_current(self, subscription: Subscription) -> bool:
        """Return whether a subscription can continue. Otherwise, replace it by one with another prefetch count."""
        if subscription.is_isolated:
            return self.is_active and not (self._waiting and self.clock_s() >= self._turn_ends_s)
        target = self.prefetch_count(subscription.concurrency)
        count = subscription.prefetch_count
        return not self.is_active and count / _MIN_CHANGE < target < count * _MIN_CHANGE

    def remaining_s(self, subscription: Subscription) -> float:
        """Return the time after which an isolated subscription is outdated without any event."""
        if not subscription.is_isolated:
            return math.inf
        isolated_s = math.inf if self._is_probing else self._until_s - self.clock_s()
        return max(0.0, min(isolated_s, self._turn_ends_s - self.clock_s() if self._waiting else math.inf))

    def _wake_subscribed(self) -> None:
        for subscription in self._subscribed:
            subscription.changed.set()
