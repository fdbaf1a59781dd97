"""The consume loop: batches, the ack policy, dead letters, drain. What a message means is the handler's business."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue

from consumers.metrics import DEAD_LETTERS
from consumers.topology import Topology
from service.domain.backoff import backoff_delays
from service.domain.ids import new_id
from service.log import log
from service.store.postgres.database import is_conflict, is_outage

PREFETCH: Final = 40  # twice a batch: the next one is there when this one is committed
BATCH: Final = 20
BATCH_BYTES: Final = 2 * 2**20
_SUSPECT_AFTER: Final = 2  # deliveries; a message that may have taken a worker down runs alone
_WATCH_S: Final = 15.0
_LONGEST_WAIT_S: Final = 15.0
_TEXT_IN_HEADER: Final = 1_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message without its transport, as handlers get it from RabbitMQ and from the embedded queue."""

    body: bytes
    content_type: str | None
    headers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The verdict on a message that never can be taken."""

    reason: str
    message: str


# A handler returns a verdict for each delivery: None for done, or why it belongs to the dead letters. Whatever it
# raises is either an outage, and the same deliveries come again, or ends the worker.
MessageHandler = Callable[[Sequence[Delivery]], Awaitable[Sequence[Rejection | None]]]


class Stopped(Exception):
    """We were asked to stop while the store was out of reach; the broker keeps what was not acked."""


class ConsumerLost(Exception):
    """The broker no longer delivers to us, though the connection stands."""


class BatchConsumer:
    """One channel with one consumer: takes what has arrived as a batch, has it handled, acks it, takes the next.

    Batches form by themselves while one is being handled, so an idle lane adds no delay.
    """

    def __init__(self, topology: Topology, queue: str, handle: MessageHandler, stopping: asyncio.Event) -> None:
        self._topology = topology
        self._queue_name = queue
        self._handle = handle
        self._stopping = stopping
        self._inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()

    async def run(self, connection: AbstractConnection) -> None:
        """Until `stopping` is set, then drains. Raises where the channel or the consumer is lost."""
        self._inbox = asyncio.Queue()  # what a lost channel had delivered comes again
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            await channel.set_qos(PREFETCH)
            dead = await channel.get_exchange(self._topology.dead_exchange, ensure=False)
            queue = await channel.get_queue(self._queue_name, ensure=False)
            tag = await queue.consume(self._inbox.put)
            lost = asyncio.ensure_future(channel.closed())
            watch = asyncio.create_task(_watch(connection, self._queue_name))
            try:
                await self._work(dead, lost, watch)
                await self._drain(queue, tag, dead)
            finally:
                lost.cancel()
                watch.cancel()
                await asyncio.gather(lost, watch, return_exceptions=True)

    async def _work(self, dead: AbstractExchange, *troubles: "asyncio.Future[Any]") -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                arrival = asyncio.create_task(self._inbox.get())
                done, _ = await asyncio.wait({arrival, stopping, *troubles}, return_when=asyncio.FIRST_COMPLETED)
                if arrival in done:
                    await self._take(self._batch(arrival.result()), dead)
                else:
                    arrival.cancel()
                for trouble in troubles:
                    if trouble in done:
                        trouble.result()
                        raise ConsumerLost(f"the channel of {self._queue_name} is closed")
        finally:
            stopping.cancel()

    async def _drain(self, queue: AbstractQueue, tag: str, dead: AbstractExchange) -> None:
        """What was delivered is handled, not handed back: each hand-back counts against the delivery limit."""
        await queue.cancel(tag)
        while not self._inbox.empty():
            await self._take(self._batch(self._inbox.get_nowait()), dead)

    def _batch(self, first: AbstractIncomingMessage) -> list[AbstractIncomingMessage]:
        """The first message and those that have arrived behind it, within bounds."""
        batch, size = [first], first.body_size
        while len(batch) < BATCH and size < BATCH_BYTES and not self._inbox.empty():
            message = self._inbox.get_nowait()
            batch.append(message)
            size += message.body_size
        return batch

    async def _take(self, batch: Sequence[AbstractIncomingMessage], dead: AbstractExchange) -> None:
        suspects = [message for message in batch if _deliveries(message) >= _SUSPECT_AFTER]
        calm = [message for message in batch if _deliveries(message) < _SUSPECT_AFTER]
        for group in (calm, *([suspect] for suspect in suspects)):
            if group:
                await self._settle(group, dead, multiple=not suspects)

    async def _settle(
        self, group: Sequence[AbstractIncomingMessage], dead: AbstractExchange, *, multiple: bool
    ) -> None:
        """Handles, buries what has to be buried, and only then acks."""
        verdicts = await self._handle_patiently([_delivery(message) for message in group])
        for message, verdict in zip(group, verdicts, strict=True):
            if verdict is not None:
                await dead.publish(_dead_letter(message, verdict), routing_key=self._queue_name, mandatory=True)
                DEAD_LETTERS.labels(self._queue_name, verdict.reason).inc()
                log.warning("dead_letter", queue=self._queue_name, reason=verdict.reason, message=verdict.message)
        for message in group[-1:] if multiple else group:
            await message.ack(multiple=multiple)

    async def _handle_patiently(self, deliveries: Sequence[Delivery]) -> Sequence[Rejection | None]:
        """Waits out an outage with the batch in hand: a nack would burn the delivery limit."""
        for wait_s in backoff_delays(0.2, _LONGEST_WAIT_S):
            try:
                return await self._handle(deliveries)
            except Exception as error:
                if not (is_outage(error) or is_conflict(error)):
                    raise
                log.warning("store_not_ready", queue=self._queue_name, wait_s=round(wait_s, 1), error=repr(error))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
                raise Stopped
        raise AssertionError("backoff_delays() has no end")


async def _watch(connection: AbstractConnection, queue: str) -> None:
    """Raises when nobody consumes the queue any more, which a lost basic.cancel would leave unseen."""
    while True:
        await asyncio.sleep(_WATCH_S)
        async with connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            if declared.declaration_result.consumer_count == 0:
                raise ConsumerLost(f"{queue} has no consumer")


def _deliveries(message: AbstractIncomingMessage) -> int:
    count = message.headers.get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0


def _delivery(message: AbstractIncomingMessage) -> Delivery:
    return Delivery(message.body, message.content_type, message.headers)


def _dead_letter(message: AbstractIncomingMessage, verdict: Rejection) -> Message:
    """A copy with the reason in its headers."""
    return Message(
        message.body,
        headers={
            **message.headers,
            "x-reason": verdict.reason,
            "x-message": verdict.message[:_TEXT_IN_HEADER],
            "x-queue": message.routing_key or "",
        },
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        message_id=new_id("dead"),
        timestamp=datetime.now(UTC),
        delivery_mode=DeliveryMode.PERSISTENT,
    )


async def declare(connection: AbstractConnection, topology: Topology) -> None:
    """Declares the topology on a channel of its own."""
    channel: AbstractChannel
    async with connection.channel() as channel:
        await topology.declare(channel)
