"""A broker in memory: queues, deliveries, delivery counts, prefetch, and connections that stall or are reset."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from consumers.topology import Topology

DELIVERY_LIMIT: Final = 20
HEARTBEAT_LOSS_S: Final = 30.0  # after which the broker closes a connection that doesn't respond
_POSTPONE_S: Final = 5.0
_LARGE_BYTES: Final = 300_000


@dataclass(eq=False)
class QueuedMessage:
    """A message in a queue, or delivered and not acknowledged."""

    body: bytes
    headers: dict[str, Any] = field(default_factory=dict)
    is_redelivered: bool = False
    delivery_count: int = 0

    @property
    def name(self) -> str:
        return self.body.decode()

    @property
    def size(self) -> int:
        return _LARGE_BYTES if "large" in self.name else len(self.body)


@dataclass(eq=False)
class BrokerConsumer:
    """A subscription as the broker sees it."""

    queue: str
    prefetch_count: int
    deliver: Callable[[int, QueuedMessage], None]
    notify: Callable[[], None]  # the client of a cancellation


class BrokerSession:
    """A channel as the broker sees it."""

    def __init__(self, broker: "SimulatedBroker") -> None:
        self._broker = broker
        self._next_tag = 1
        self.prefetch_count = 0
        self.consumer: BrokerConsumer | None = None
        self.unacknowledged: dict[int, tuple[str, QueuedMessage]] = {}
        broker.sessions.append(self)

    def deliver_next(self) -> bool:
        """Deliver a message if the prefetch count allows it."""
        consumer = self.consumer
        if consumer is None or len(self.unacknowledged) >= consumer.prefetch_count:
            return False
        queue = self._broker.queues[consumer.queue]
        if not queue:
            return False
        message = queue.popleft()
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self.unacknowledged[tag] = consumer.queue, message
        consumer.deliver(tag, message)
        return True

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        for known in [each for each in self.unacknowledged if each == tag or (multiple and each < tag)]:
            del self.unacknowledged[known]
        self._broker.deliver()

    def requeue(self, tag: int) -> None:
        if tag in self.unacknowledged:
            self._broker.return_message(*self.unacknowledged.pop(tag))
        self._broker.deliver()

    def cancel(self, *, returns_messages: bool, notifies: bool) -> None:
        """Cancel the subscription, as the broker does after a timeout or a loss of the queue."""
        consumer, self.consumer = self.consumer, None
        if returns_messages:
            self._return_messages()
        if consumer is not None and notifies:
            consumer.notify()

    def close(self) -> None:
        """End the session. Its messages return to their queues."""
        if self not in self._broker.sessions:
            return
        self._broker.sessions.remove(self)
        self.consumer = None
        self._return_messages()

    def _return_messages(self) -> None:
        for queue, message in reversed(self.unacknowledged.values()):
            self._broker.return_message(queue, message)
        self.unacknowledged = {}
        self._broker.deliver()


class SimulatedBroker:
    """The queues of the topology."""

    def __init__(self, rng: random.Random, topology: Topology) -> None:
        self._rng = rng
        self._topology = topology
        runs = topology.runs_queue
        names = (runs, topology.large_queue(runs))
        self.queues: dict[str, deque[QueuedMessage]] = {name: deque() for name in names}
        self._postponed = topology.postponed_queue(runs)
        self.postponed = 0
        self.sessions: list[BrokerSession] = []
        self.dead_letters: list[tuple[str, str]] = []  # name and reason
        self.is_down = False

    @property
    def is_empty(self) -> bool:
        """Whether no message is in a queue, delivered, or postponed."""
        is_delivered = any(session.unacknowledged for session in self.sessions)
        return not (any(self.queues.values()) or is_delivered or self.postponed)

    def publish(self, queue: str, message: QueuedMessage) -> None:
        """Add a message to a queue, to the postponed messages, or to the dead letters."""
        if "x-reason" in message.headers:
            self.dead_letters.append((message.name, str(message.headers["x-reason"])))
        elif queue == self._postponed:
            self.postponed += 1
            asyncio.get_running_loop().call_later(_POSTPONE_S, self._return_postponed, message)
        else:
            self.queues[queue].append(message)
            self.deliver()

    def _return_postponed(self, message: QueuedMessage) -> None:
        self.postponed -= 1
        self.publish(self._topology.runs_queue, message)

    def return_message(self, queue: str, message: QueuedMessage) -> None:
        """Return a delivered message to the start of its queue, or dead-letter it after too many deliveries."""
        message.is_redelivered = True
        message.delivery_count += 1
        if message.delivery_count > DELIVERY_LIMIT:
            self.dead_letters.append((message.name, "delivery_limit"))
        else:
            self.queues[queue].appendleft(message)

    def deliver(self) -> None:
        """Deliver messages in turns to the consumers."""
        while any([session.deliver_next() for session in self.sessions]):  # noqa: C419 - each gets one message
            pass

    def count_consumers(self, queue: str) -> int:
        return sum(session.consumer is not None and session.consumer.queue == queue for session in self.sessions)
