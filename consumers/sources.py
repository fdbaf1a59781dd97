"""The queue of a consumer, and what the consumer does with its messages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from consumers.isolation import Isolation
from consumers.loops import LONGEST_DELAY_S
from consumers.messages import MessageHandler
from consumers.topology import Topology
from service.domain.backoff import Backoff
from service.log import log
from service.retries import with_retries
from service.store.postgres.retries import is_temporary

# A "mixed" consumer handles all messages of its queue. A "small" one moves large messages to the queue that a "large"
# consumer handles.
MessageSizes = Literal["mixed", "small", "large"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MessageSource:
    """What a consumer is subscribed to, and the state that it shares with the process."""

    topology: Topology
    queue: str  # of the producers; it also identifies dead letters and crash suspects
    handle: MessageHandler
    isolation: Isolation
    stopping: asyncio.Event
    sizes: MessageSizes
    concurrency: int  # batches

    @property
    def name(self) -> str:
        """The queue that the consumer is subscribed to."""
        return self.topology.large_queue(self.queue) if self.sizes == "large" else self.queue

    async def retry(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a statement about crash suspects, and again after an outage. Raises Stopped."""

        def log_retry(error: Exception, delay_s: float) -> None:
            log.warning("batch_retried", queue=self.queue, delay_s=round(delay_s, 1), error=repr(error))

        return await with_retries(work, is_temporary, Backoff(0.2, LONGEST_DELAY_S), self.stopping, log_retry)
