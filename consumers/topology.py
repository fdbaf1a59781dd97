"""Every exchange and queue, declared here and nowhere else, so that a mismatch shows at start and not in a loop."""

from dataclasses import dataclass
from typing import Any, Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractExchange

from service.domain.queues import JOB_QUEUES

RUN_COMPLETED: Final = "run.completed"

# Explicit, since the broker's own default changes between versions and drops what exceeds it.
_DELIVERY_LIMIT: Final = 20
_UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True)
class Topology:
    """The names, all behind one prefix."""

    prefix: str = ""

    @property
    def runs_exchange(self) -> str:
        """Where producers publish run-completion events."""
        return f"{self.prefix}runs"

    @property
    def dead_exchange(self) -> str:
        """Where what can't be taken goes; the routing key is the queue it came from."""
        return f"{self.prefix}results.dead"

    @property
    def runs_queue(self) -> str:
        """Run-completion events on their way into the store."""
        return f"{self.prefix}results.runs"

    def job_queue(self, name: str) -> str:
        """A queue between our own processes, by its name in domain/queues.py."""
        return f"{self.prefix}{name}"

    @property
    def queues(self) -> list[str]:
        """Every queue that has consumers, and dead letters of its own."""
        return [self.runs_queue, *map(self.job_queue, JOB_QUEUES)]

    def dead_queue(self, queue: str) -> str:
        """The dead letters of a queue. They stay until someone replays or discards them."""
        return f"{queue}.dead"

    async def declare(self, channel: AbstractChannel) -> None:
        """Declares all of it; idempotent. Raises ChannelPreconditionFailed where the broker has it otherwise."""
        runs = await channel.declare_exchange(self.runs_exchange, ExchangeType.TOPIC, durable=True)
        dead = await channel.declare_exchange(self.dead_exchange, ExchangeType.DIRECT, durable=True)
        for queue in self.queues:
            await self._declare_queue(channel, queue, dead)
        queue_of_runs = await channel.get_queue(self.runs_queue, ensure=False)
        await queue_of_runs.bind(runs, routing_key=RUN_COMPLETED)

    async def _declare_queue(self, channel: AbstractChannel, name: str, dead: AbstractExchange) -> None:
        graveyard = await channel.declare_queue(
            self.dead_queue(name),
            durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED},
        )
        await graveyard.bind(dead, routing_key=name)
        await channel.declare_queue(name, durable=True, arguments=self._arguments(name))

    def _arguments(self, queue: str) -> dict[str, Any]:
        """At-least-once dead-lettering needs reject-publish: with drop-head it would silently be at most once."""
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": _DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead_exchange,
            "x-dead-letter-routing-key": queue,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
