"""The topology: every exchange, queue, and binding. Each process declares it at start, so a mismatch fails early."""

from dataclasses import dataclass
from typing import Any, Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange

from service.tasks.model import QUEUES, RUNS

RUN_COMPLETED: Final = "run.completed"

# Set explicitly, because the default differs between broker versions and the broker drops messages that exceed it.
_DELIVERY_LIMIT: Final = 20
_UNLIMITED: Final = -1
_POSTPONE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Topology:
    """The names of exchanges and queues, which all start with one prefix."""

    prefix: str = ""

    @property
    def runs_exchange(self) -> str:
        """The exchange to which producers publish run-completion events."""
        return f"{self.prefix}runs"

    @property
    def dead_exchange(self) -> str:
        """The exchange for dead letters. The routing key is the name of the original queue."""
        return f"{self.prefix}results.dead"

    @property
    def runs_queue(self) -> str:
        """The queue of run-completion events."""
        return self.queue(RUNS)

    def queue(self, name: str) -> str:
        """Return the full name of a queue in tasks/model.py."""
        return f"{self.prefix}{name}"

    @property
    def queues(self) -> list[str]:
        """Every queue that has consumers and a dead-letter queue."""
        return [self.queue(name) for name in QUEUES]

    def dead_queue(self, queue: str) -> str:
        """Return the dead-letter queue of a queue. It has no TTL: operators replay or discard its messages."""
        return f"{queue}.dead"

    def postponed_queue(self, queue: str) -> str:
        """Return the queue for messages that can't be stored yet. After a delay, the broker returns them to `queue`."""
        return f"{queue}.postponed"

    def large_queue(self, queue: str) -> str:
        """Return the queue for large messages, so that they don't delay other messages. It shares the dead letters."""
        return f"{queue}.large"

    async def declare(self, channel: AbstractChannel) -> None:
        """Declare the topology; idempotent. Raises ChannelPreconditionFailed if the broker has different arguments.

        The exchange of producers is last: the broker discards events that it can't route, even if it confirms them.
        """
        dead = await channel.declare_exchange(self.dead_exchange, ExchangeType.DIRECT, durable=True)
        for queue in self.queues:
            await self._declare_queue(channel, queue, dead)
        await self._declare_postponed(channel, self.runs_queue)
        large_queue = self.large_queue(self.runs_queue)
        await channel.declare_queue(large_queue, durable=True, arguments=self._arguments(self.runs_queue))
        runs_queue = await channel.get_queue(self.runs_queue, ensure=False)
        runs = await channel.declare_exchange(self.runs_exchange, ExchangeType.TOPIC, durable=True)
        await runs_queue.bind(runs, routing_key=RUN_COMPLETED)

    async def _declare_queue(self, channel: AbstractChannel, name: str, dead: AbstractExchange) -> None:
        dead_queue = await channel.declare_queue(
            self.dead_queue(name),
            durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED},
        )
        await dead_queue.bind(dead, routing_key=name)
        await channel.declare_queue(name, durable=True, arguments=self._arguments(name))

    async def _declare_postponed(self, channel: AbstractChannel, queue: str) -> None:
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": _UNLIMITED,
            "x-message-ttl": _POSTPONE_MS,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        await channel.declare_queue(self.postponed_queue(queue), durable=True, arguments=arguments)

    def _arguments(self, queue: str) -> dict[str, Any]:
        """Return the arguments of a queue.

        At-least-once dead-lettering requires reject-publish. With drop-head, the broker silently uses at-most-once.
        """
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead_exchange,
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
