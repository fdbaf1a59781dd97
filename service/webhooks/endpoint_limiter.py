"""Concurrency limits per endpoint: how many attempts run at the same time, and how many leased deliveries wait."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from service.domain.ids import OrgId
from service.webhooks.model import Endpoint

# The deliveries that are leased in advance for an endpoint take this long. A lease takes a few milliseconds, and up
# to 0.1 s on a busy machine.
_QUEUED_S: Final = 0.5
_NEWEST_WEIGHT: Final = 0.1  # of the newest attempt in the average duration
_REMEMBERED_S: Final = 60.0  # without an attempt: the window of an endpoint that gets events from time to time


class TimedDelivery(Protocol):
    """A leased delivery. An attempt that starts after `start_by` could outlast the lease."""

    @property
    def start_by(self) -> float: ...


T = TypeVar("T", bound=TimedDelivery)


class NextDeliveries(NamedTuple, Generic[T]):
    """The deliveries to attempt now, and those to release to the store."""

    attempt: list[T]
    release: list[T]


class EndpointLimiter(Generic[T]):
    """The concurrency limits of all endpoints to which this process sends.

    The window of an endpoint is its maximum number of concurrent attempts. It starts small, grows with every success,
    and is halved by every failure. An endpoint that hangs therefore occupies only a few connections, regardless of the
    number of its due deliveries. For an endpoint that responds well, more deliveries are leased in advance: as many as
    it receives in a short time, and all endpoints together at most `max_pending`.
    """

    def __init__(self, initial_window: int, max_window: int, max_pending: int) -> None:
        self._initial_window = initial_window
        self._max_window = max_window
        self._max_pending = max_pending
        self._share = max_pending  # of one endpoint
        self._queues: dict[Endpoint, _EndpointQueue[T]] = {}

    def add(self, endpoint: Endpoint, leased: Iterable[T], now: float) -> NextDeliveries[T]:
        """Add leased deliveries. `now` has the same clock as their `start_by`."""
        queue = self._queues.setdefault(endpoint, _EndpointQueue(self._initial_window))
        queue.used_at = now
        queue.pending.extend(leased)
        return queue.start(now)

    def finish(self, endpoint: Endpoint, now: float, duration_s: float, *, succeeded: bool) -> NextDeliveries[T]:
        """Record the end of an attempt. Repeated failures also release every pending delivery of the endpoint."""
        queue = self._queues[endpoint]
        queue.used_at = now
        queue.in_flight -= 1
        if succeeded:
            queue.grow(self._max_window, duration_s)
        else:
            queue.window = max(1, queue.window // 2)
        if not succeeded and queue.window <= self._initial_window:
            following = NextDeliveries([], queue.release_pending())
        else:
            following = queue.start(now)
        if not queue.in_flight and queue.window == self._initial_window:
            del self._queues[endpoint]
        return following

    def release_pending(self) -> list[T]:
        """Remove and return all pending deliveries, so that the caller can release their leases."""
        return [delivery for queue in self._queues.values() for delivery in queue.release_pending()]

    def has_capacity(self, endpoint: Endpoint) -> bool:
        """Return whether more deliveries of the endpoint can be leased."""
        queue = self._queues.get(endpoint)
        return queue is None or queue.capacity(self._share) > 0

    def capacities(self, now: float, org_id: OrgId | None = None) -> Mapping[Endpoint, int]:
        """Return the number of deliveries to lease for each known endpoint; others have the initial window.

        With `org_id`, return only the endpoints of this organization. Forget endpoints that weren't used for a minute.
        """
        for endpoint in [each for each, queue in self._queues.items() if queue.is_unused(now)]:
            del self._queues[endpoint]
        busy = sum(1 for queue in self._queues.values() if queue.in_flight)
        self._share = self._max_pending // max(1, busy)
        return {
            endpoint: queue.capacity(self._share)
            for endpoint, queue in self._queues.items()
            if org_id in (None, endpoint[0])
        }


class _EndpointQueue(Generic[T]):
    def __init__(self, initial_window: int) -> None:
        self._initial_window = initial_window
        self.window = initial_window
        self.in_flight = 0
        self.used_at = 0.0
        self.pending: deque[T] = deque()
        self._duration_s = 0.0  # the average duration of successful attempts; 0 before the first one

    def capacity(self, max_pending: int) -> int:
        """Return the number of deliveries to lease, or 0 until half of the limit is free.

        Many small leases cost the store more than a few large ones.
        """
        limit = self.window + min(max_pending, self._queue_size)
        free = max(0, limit - self.in_flight - len(self.pending))
        return free if free * 2 >= limit else 0

    def is_unused(self, now: float) -> bool:
        return not self.in_flight and not self.pending and now - self.used_at >= _REMEMBERED_S

    @property
    def _queue_size(self) -> int:
        if self.window <= self._initial_window or not self._duration_s:
            return 0
        return math.ceil(self.window * _QUEUED_S / self._duration_s)

    def grow(self, max_window: int, duration_s: float) -> None:
        self.window = min(max_window, self.window + 1)
        weight = _NEWEST_WEIGHT if self._duration_s else 1
        self._duration_s += weight * (max(duration_s, 0.001) - self._duration_s)

    def start(self, now: float) -> NextDeliveries[T]:
        following = NextDeliveries[T]([], [])
        while self.pending and self.in_flight < self.window:
            delivery = self.pending.popleft()
            if delivery.start_by < now:
                following.release.append(delivery)
            else:
                following.attempt.append(delivery)
                self.in_flight += 1
        return following

    def release_pending(self) -> list[T]:
        released = list(self.pending)
        self.pending.clear()
        return released
