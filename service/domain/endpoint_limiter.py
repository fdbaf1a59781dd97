"""Concurrency limits per endpoint: how many attempts run at the same time, and how many claimed deliveries wait."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from service.domain.deliveries import QUEUED_WINDOWS, Endpoint

T = TypeVar("T")


class NextDeliveries(NamedTuple, Generic[T]):
    """The deliveries to attempt now, and those to release to the store."""

    attempt: list[T]
    release: list[T]


class EndpointLimiter(Generic[T]):
    """The concurrency limits of all endpoints to which this process sends.

    The window of an endpoint is its maximum number of concurrent attempts. It starts small, grows with every success,
    and is halved by every failure. An endpoint that hangs therefore occupies only a few connections, regardless of the
    number of its due deliveries. For an endpoint that responds well, more deliveries are claimed in advance.
    """

    def __init__(self, initial_window: int, max_window: int) -> None:
        self._initial_window = initial_window
        self._max_window = max_window
        self._queues: dict[Endpoint, _EndpointQueue[T]] = {}

    def add(self, endpoint: Endpoint, claimed: Iterable[T]) -> list[T]:
        """Add claimed deliveries and return those to attempt now."""
        queue = self._queues.setdefault(endpoint, _EndpointQueue(self._initial_window))
        queue.pending.extend(claimed)
        return queue.start()

    def finish(self, endpoint: Endpoint, *, succeeded: bool) -> NextDeliveries[T]:
        """Record the end of an attempt. A failure also releases every pending delivery of the endpoint."""
        queue = self._queues[endpoint]
        queue.in_flight -= 1
        queue.window = min(self._max_window, queue.window + 1) if succeeded else max(1, queue.window // 2)
        release = [] if succeeded else queue.release_pending()
        attempt = queue.start()
        if not queue.in_flight and queue.window == self._initial_window:
            del self._queues[endpoint]
        return NextDeliveries(attempt, release)

    def release_pending(self) -> list[T]:
        """Remove and return all pending deliveries, so that the caller can release their claims."""
        return [delivery for queue in self._queues.values() for delivery in queue.release_pending()]

    def has_capacity(self, endpoint: Endpoint) -> bool:
        """Return whether more deliveries of the endpoint can be claimed."""
        return endpoint not in self._queues or self._queues[endpoint].capacity > 0

    def capacities(self) -> Mapping[Endpoint, int]:
        """Return the number of deliveries to claim for each known endpoint; others have the initial window."""
        return {endpoint: queue.capacity for endpoint, queue in self._queues.items()}


class _EndpointQueue(Generic[T]):
    def __init__(self, initial_window: int) -> None:
        self._initial_window = initial_window
        self.window = initial_window
        self.in_flight = 0
        self.pending: deque[T] = deque()

    @property
    def capacity(self) -> int:
        """The number of deliveries to claim, or 0 until half of the limit is free.

        Many small claims cost the store more than a few large ones.
        """
        limit = self.window if self.window <= self._initial_window else self.window * (1 + QUEUED_WINDOWS)
        free = max(0, limit - self.in_flight - len(self.pending))
        return free if free * 2 >= limit else 0

    def start(self) -> list[T]:
        started = []
        while self.pending and self.in_flight < self.window:
            started.append(self.pending.popleft())
            self.in_flight += 1
        return started

    def release_pending(self) -> list[T]:
        released = list(self.pending)
        self.pending.clear()
        return released
