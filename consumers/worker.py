"""The consumers of queues. Handlers interpret the messages."""

import asyncio
from contextlib import ExitStack, closing

from consumers.connections import BrokerConnection
from consumers.consume_loop import ConsumeLoop
from consumers.isolation import Isolation
from consumers.messages import MessageHandler
from consumers.progress import ConsumerProgress
from consumers.sources import MessageSizes, MessageSource
from consumers.topology import Topology


class BatchConsumer:
    """A consumer on its own channel, which handles and acknowledges all messages that have arrived as one batch.

    While it handles batches, the messages of the next one arrive, so an idle consumer adds no delay. It handles a
    message that might have crashed a consumer while no other message is unacknowledged, so that a crash raises only the
    delivery count of that message.
    """

    def __init__(
        self, topology: Topology, queue: str, handle: MessageHandler, isolation: Isolation, stopping: asyncio.Event,
        sizes: MessageSizes = "mixed", concurrency: int = 1,
    ) -> None:  # fmt: skip
        self._source = MessageSource(topology, queue, handle, isolation, stopping, sizes, concurrency)
        self._progress = ConsumerProgress(isolation.clock_s)
        self._loop: ConsumeLoop | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the consumer is subscribed to its queue, or waits for its turn to be."""
        return self._loop is not None and self._loop.is_consuming

    def unchanged_s(self) -> float:
        """Return how long messages that this consumer has received made no progress."""
        return self._progress.unchanged_s()

    async def run(self, connection: BrokerConnection) -> None:
        """Consume until the process must stop, then drain. Raises an error if the channel or the consumer is lost."""
        isolation = self._source.isolation
        isolation.restart()
        self._progress = ConsumerProgress(isolation.clock_s)  # without batches of an earlier connection
        await self._source.retry(isolation.suspects.withdraw_interrupted)
        opening = connection.opened_channel(publisher_confirms=True, on_return_raises=True)
        with ExitStack() as after_channel:
            async with opening as channel:
                underlay = await channel.get_underlay_channel()
                self._loop = loop = ConsumeLoop(self._source, connection, channel, underlay, self._progress)
                after_channel.enter_context(closing(loop))
                after_channel.enter_context(connection.assembler.receiving(underlay, loop.receive))
                await loop.run()
