"""Every exchange and queue, declared here and nowhere else, so that a mismatch shows at start and not in a loop."""

from dataclasses import dataclass
from typing import Any, Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel

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

    def dead_queue(self, queue: str) -> str:
        """The dead letters of a queue. They stay until someone replays or discards them."""
        return f"{queue}.dead"

    async def declare(self, channel: AbstractChannel) -> None:
        """Declares all of it; idempotent. Raises ChannelPreconditionFailed where the broker has it otherwise."""
        runs = await channel.declare_exchange(self.runs_exchange, ExchangeType.TOPIC, durable=True)
        dead = await channel.declare_exchange(self.dead_exchange, ExchangeType.DIRECT, durable=True)
        graveyard = await channel.declare_queue(
            self.dead_queue(self.runs_queue),
            durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": _UNLIMITED},
        )
        await graveyard.bind(dead, routing_key=self.runs_queue)
        queue = await channel.declare_queue(self.runs_queue, durable=True, arguments=self._arguments(self.runs_queue))
        await queue.bind(runs, routing_key=RUN_COMPLETED)

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
