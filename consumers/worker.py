"""The consume loop: batches, acknowledgments, dead letters, drain. Handlers interpret the messages."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue

from consumers.loops import LONGEST_DELAY_S
from consumers.metrics import DEAD_LETTERS
from consumers.topology import Topology
from service.domain.backoff import Backoff
from service.domain.ids import new_id
from service.log import log
from service.retries import with_retries
from service.store.postgres.retries import is_temporary

PREFETCH: Final = 40  # two batches, so that the next batch has arrived when the current one is committed
BATCH: Final = 20
BATCH_BYTES: Final = 2 * 2**20
_SUSPECT_DELIVERIES: Final = 2  # a message with this number of deliveries might have crashed a consumer
_CHECK_CONSUMER_S: Final = 15.0
_REASON_LENGTH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message, independent of its transport (RabbitMQ or the embedded queue)."""

    body: bytes
    content_type: str | None
    headers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a message can never be stored, so that it becomes a dead letter."""

    reason: str
    message: str


# A handler returns None or a rejection for each delivery. After a temporary database error, it is called again with the
# same deliveries. Any other error ends the consumer.
MessageHandler = Callable[[Sequence[Delivery]], Awaitable[Sequence[Rejection | None]]]


class ConsumerLost(Exception):
    """The broker no longer delivers to this consumer, although the connection is open."""


class BatchConsumer:
    """A consumer on its own channel, which handles and acknowledges all messages that have arrived as one batch.

    While it handles a batch, the messages of the next one arrive, so an idle consumer adds no delay.
    """

    def __init__(self, topology: Topology, queue: str, handle: MessageHandler, stopping: asyncio.Event) -> None:
        self._topology = topology
        self._queue_name = queue
        self._handle = handle
        self._stopping = stopping
        self._inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def run(self, connection: AbstractConnection) -> None:
        """Consume until `stopping` is set, then drain. Raises an error if the channel or the consumer is lost."""
        self._inbox = asyncio.Queue()  # the broker delivers the messages of a lost channel again
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            await channel.set_qos(PREFETCH)
            dead_exchange = await channel.get_exchange(self._topology.dead_exchange, ensure=False)
            queue = await channel.get_queue(self._queue_name, ensure=False)
            tag = await queue.consume(self._inbox.put)
            channel_closed = asyncio.ensure_future(channel.closed())
            consumer_check = asyncio.create_task(_check_consumer(connection, self._queue_name))
            try:
                await self._consume(dead_exchange, channel_closed, consumer_check)
                await self._drain(queue, tag, dead_exchange)
            finally:
                channel_closed.cancel()
                consumer_check.cancel()
                await asyncio.gather(channel_closed, consumer_check, return_exceptions=True)

    async def _consume(self, dead_exchange: AbstractExchange, *failures: "asyncio.Future[Any]") -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                arrival = asyncio.create_task(self._inbox.get())
                done, _ = await asyncio.wait({arrival, stopping, *failures}, return_when=asyncio.FIRST_COMPLETED)
                if arrival in done:
                    await self._handle_batch(self._collect_batch(arrival.result()), dead_exchange)
                else:
                    arrival.cancel()
                for failure in failures:
                    if failure in done:
                        failure.result()
                        raise ConsumerLost(f"the channel of {self._queue_name} is closed")
        finally:
            stopping.cancel()

    async def _drain(self, queue: AbstractQueue, tag: str, dead_exchange: AbstractExchange) -> None:
        """Handle the messages already delivered. A nack of each would count toward its delivery limit."""
        await queue.cancel(tag)
        while not self._inbox.empty():
            await self._handle_batch(self._collect_batch(self._inbox.get_nowait()), dead_exchange)

    def _collect_batch(self, first: AbstractIncomingMessage) -> list[AbstractIncomingMessage]:
        """Return the first message and those that arrived after it, up to the limits of a batch."""
        batch, size = [first], first.body_size
        while len(batch) < BATCH and size < BATCH_BYTES and not self._inbox.empty():
            message = self._inbox.get_nowait()
            batch.append(message)
            size += message.body_size
        return batch

    async def _handle_batch(self, batch: Sequence[AbstractIncomingMessage], dead_exchange: AbstractExchange) -> None:
        suspects = [message for message in batch if _delivery_count(message) >= _SUSPECT_DELIVERIES]
        normal = [message for message in batch if _delivery_count(message) < _SUSPECT_DELIVERIES]
        for group in (normal, *([message] for message in suspects)):
            if group:
                await self._handle_and_acknowledge(group, dead_exchange, multiple=not suspects)

    async def _handle_and_acknowledge(
        self, group: Sequence[AbstractIncomingMessage], dead_exchange: AbstractExchange, *, multiple: bool
    ) -> None:
        """Handle the messages, publish the dead letters, and only then acknowledge."""
        rejections = await self._handle_with_retries([_delivery(message) for message in group])
        for message, rejection in zip(group, rejections, strict=True):
            if rejection is not None:
                dead_letter = _dead_letter(message, rejection)
                await dead_exchange.publish(dead_letter, routing_key=self._queue_name, mandatory=True)
                report_dead_letter(self._queue_name, rejection)
        for message in group[-1:] if multiple else group:
            await message.ack(multiple=multiple)

    async def _handle_with_retries(self, deliveries: Sequence[Delivery]) -> Sequence[Rejection | None]:
        """Retry during an outage instead of a nack, which would count toward the delivery limit. Raises Stopped."""

        def log_retry(error: Exception, delay_s: float) -> None:
            log.warning("batch_retried", queue=self._queue_name, delay_s=round(delay_s, 1), error=repr(error))

        handle = partial(self._handle, deliveries)
        return await with_retries(handle, is_temporary, Backoff(0.2, LONGEST_DELAY_S), self._stopping, log_retry)


async def _check_consumer(connection: AbstractConnection, queue: str) -> None:
    """Raise ConsumerLost if the queue has no consumer. A lost basic.cancel would otherwise stay unnoticed."""
    while True:
        await asyncio.sleep(_CHECK_CONSUMER_S)
        async with connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            if declared.declaration_result.consumer_count == 0:
                raise ConsumerLost(f"{queue} has no consumer")


def report_dead_letter(queue: str, rejection: Rejection) -> None:
    """Count and log a message that became a dead letter."""
    DEAD_LETTERS.labels(queue, rejection.reason).inc()
    log.warning("message_dead_lettered", queue=queue, reason=rejection.reason, message=rejection.message)


def _delivery_count(message: AbstractIncomingMessage) -> int:
    count = message.headers.get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0


def _delivery(message: AbstractIncomingMessage) -> Delivery:
    return Delivery(message.body, message.content_type, message.headers)


def _dead_letter(message: AbstractIncomingMessage, rejection: Rejection) -> Message:
    """Return a copy of the message with the reason in its headers."""
    return Message(
        message.body,
        headers={
            **message.headers,
            "x-reason": rejection.reason,
            "x-message": rejection.message[:_REASON_LENGTH],
            "x-queue": message.routing_key or "",
        },
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        message_id=new_id("dead"),
        timestamp=datetime.now(UTC),
        delivery_mode=DeliveryMode.PERSISTENT,
    )
