"""The consume loop: batches, acknowledgments, dead letters, drain. Handlers interpret the messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from typing import Any, Final, Literal, TypeVar

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError

from consumers import messages
from consumers.batches import BatchTasks
from consumers.connections import BrokerConnection
from consumers.deliveries import ReceivedMessage
from consumers.inbox import Inbox, LossSignal
from consumers.isolation import Isolation
from consumers.loops import LONGEST_DELAY_S
from consumers.messages import HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.metrics import LARGE_MESSAGES
from consumers.progress import ConsumerProgress
from consumers.topology import Topology
from service.domain.backoff import Backoff
from service.log import log
from service.retries import with_retries
from service.stopping import Stopped, end_tasks, has_failed, pause
from service.store.postgres.retries import is_temporary

MAX_CRASHES: Final = 3  # processes that attempt a crash suspect; the last one doesn't read it
LARGE_BYTES: Final = 256 * 2**10  # moving a larger message takes much less time than handling it

_ACK_WAIT_S: Final = 0.02  # for earlier batches, because one acknowledgment for all messages of a batch takes less time
_CHECK_CONSUMER_S: Final = 15.0
_CHECK_LARGE_S: Final = 1.0

# A "mixed" consumer handles all messages of its queue. A "small" one moves large messages to the queue that a "large"
# consumer handles.
MessageSizes = Literal["mixed", "small", "large"]

T = TypeVar("T")


class ConsumerLost(Exception):
    """The broker no longer delivers to this consumer, although the connection is open."""


_BROKER_ERRORS: Final = (AMQPError, ChannelInvalidStateError, ConsumerLost)


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
        self._topology = topology
        self._queue_name = queue  # of the producers; it also identifies dead letters and crash suspects
        self._source = topology.large_queue(queue) if sizes == "large" else queue
        self._sizes = sizes
        self._handle = handle
        self._isolation = isolation
        self._stopping = stopping
        self._concurrency = concurrency  # batches
        self._progress = ConsumerProgress()

    def unchanged_s(self) -> float:
        """Return how long messages that this consumer has received made no progress."""
        return self._progress.unchanged_s()

    async def run(self, connection: BrokerConnection) -> None:
        """Consume until `stopping` is set, then drain. Raises an error if the channel or the consumer is lost.

        Each change of the prefetch count requires a new subscription.
        """
        self._isolation.restart()
        self._progress = ConsumerProgress()  # without the batches of an earlier connection that never ended
        self._call = connection.call
        await self._with_retries(self._isolation.suspects.withdraw_interrupted)
        opening = connection.opened_channel(publisher_confirms=True, on_return_raises=True)
        with closing(Inbox(self._isolation, self._concurrency, self._progress)) as inbox, ExitStack() as after_channel:
            async with opening as channel:
                receiving = connection.assembler.receiving(await channel.get_underlay_channel(), inbox.add)
                after_channel.enter_context(receiving)
                await self._consume(connection, channel, inbox)

    async def _consume(self, connection: BrokerConnection, channel: AbstractChannel, inbox: Inbox) -> None:
        queue = await channel.get_queue(self._source, ensure=False)
        while not self._stopping.is_set():
            if self._sizes == "large":
                await self._wait_until_useful(channel)
            async with self._isolation.subscription(self._source) as isolated:
                if self._stopping.is_set():
                    return
                prefetch_count = 1 if isolated else self._isolation.prefetch_count(self._concurrency)
                await self._call(channel.set_qos(prefetch_count))
                tag = await self._call(queue.consume(_reject_unassembled))
                async with _watching(connection, channel, self._source) as failures:
                    await self._handle_arrivals(channel, inbox, failures, None if isolated else prefetch_count)
                await self._drain(channel, inbox, queue, tag, isolated=isolated)

    async def _wait_until_useful(self, channel: AbstractChannel) -> None:
        """Wait while the queues are isolated and this one is empty, so that it takes no turn of the other one."""
        while self._isolation.is_active and not self._stopping.is_set():
            declared = await self._call(channel.declare_queue(self._source, passive=True))
            if declared.declaration_result.message_count:
                return
            await pause(_CHECK_LARGE_S, self._stopping)

    async def _handle_arrivals(
        self,
        channel: AbstractChannel,
        inbox: Inbox,
        failures: Sequence[LossSignal],
        prefetch_count: int | None,
    ) -> None:
        """Handle messages until the process must stop, or the subscription is outdated. Finishes all started batches.

        `prefetch_count` is None for an isolated subscription, which is outdated when its turn ends.
        """
        isolated = prefetch_count is None
        change = self._isolation.wait_for_end_of_turn(self._source) if isolated else self._isolation.started.wait()
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(change)]
        try:
            async with BatchTasks(self._concurrency) as batches:
                while not self._stopping.is_set():
                    await self._wait_for_work(inbox, batches, *waits, *failures)
                    batches.remove_finished()
                    for failure in failures:
                        if failure.done():
                            failure.result()
                            raise ConsumerLost(f"the channel of {self._source} is closed")
                    if not self._is_current(prefetch_count):
                        return
                    while not batches.is_full and (batch := inbox.take_batch()):
                        batches.start(self._handle_batch(channel, batch, batches))
        finally:
            await end_tasks(waits)

    async def _wait_for_work(self, inbox: Inbox, batches: BatchTasks, *others: LossSignal) -> None:
        """Wait until a batch can start or has finished, or one of the other futures is done."""
        if batches.is_full:
            await asyncio.wait([*batches.unfinished, *others], return_when=asyncio.FIRST_COMPLETED)
        else:
            await inbox.wait(*batches.unfinished, *others)

    def _is_current(self, prefetch_count: int | None) -> bool:
        if prefetch_count is None:
            return self._isolation.is_turn(self._source)
        return not self._isolation.is_active and not self._isolation.is_outdated(prefetch_count, self._concurrency)

    async def _drain(
        self, channel: AbstractChannel, inbox: Inbox, queue: AbstractQueue, tag: str, *, isolated: bool
    ) -> None:
        """Cancel the subscription and handle the delivered messages. Return suspects that aren't alone to the queue."""
        await self._call(queue.cancel(tag))
        with self._progress.handling():
            suspects = inbox.take_suspects()
            while batch := inbox.take_batch():
                await self._handle_group(channel, batch)
                await self._call(_acknowledge(batch, multiple=not suspects))
                self._progress.record()
            if isolated and len(suspects) == 1:
                return await self._handle_suspect(channel, suspects[0])
            for message in suspects:
                await self._call(message.requeue())
        return None

    async def _handle_batch(
        self, channel: AbstractChannel, batch: Sequence[ReceivedMessage], batches: BatchTasks
    ) -> None:
        with self._progress.handling():
            if len(batch) == 1 and messages.is_suspect(batch[0]):
                return await self._handle_suspect(channel, batch[0])
            await self._handle_group(channel, batch)
            multiple = await batches.have_earlier_succeeded(_ACK_WAIT_S)
            return await self._call(_acknowledge(batch, multiple=multiple))

    async def _handle_suspect(self, channel: AbstractChannel, message: ReceivedMessage) -> None:
        """Record the attempt before the message is read. Reject the message if too many processes have ended."""
        suspects, key = self._isolation.suspects, (self._queue_name, messages.body_sha256(message))
        try:
            attempt_count = await self._with_retries(partial(suspects.start_attempt, *key))
            if attempt_count >= MAX_CRASHES:
                text = f"{attempt_count - 1} processes ended while they handled the message alone"
                await self._finish(channel, message, Rejection("crash_suspect", text))
            else:
                await self._handle_group(channel, [message])
            await self._call(message.ack())
            await self._with_retries(partial(suspects.clear, *key))
        except BaseException:  # also a cancellation: the process continues, so the message hasn't crashed it
            await suspects.withdraw(*key)
            raise

    async def _handle_group(self, channel: AbstractChannel, group: Sequence[ReceivedMessage]) -> None:
        """Handle the messages, and publish a copy of those that aren't stored. The caller acknowledges them afterwards.

        Large messages are moved last, because a move waits for the broker to write them to its disk.
        """
        large = [message for message in group if self._should_move(message)]
        await self._handle_all(channel, [message for message in group if message not in large])
        await self._handle_all(channel, [message for message in large if not await self._move(channel, message)])

    async def _handle_all(self, channel: AbstractChannel, handled: Sequence[ReceivedMessage]) -> None:
        outcomes = await self._outcomes(handled) if handled else []
        for message, outcome in zip(handled, outcomes, strict=True):
            await self._finish(channel, message, outcome)
            self._progress.record()

    def _should_move(self, message: ReceivedMessage) -> bool:
        """Return whether a message is large. A crash suspect stays, because the broker counts its deliveries."""
        return self._sizes == "small" and message.body_size > LARGE_BYTES and not messages.is_suspect(message)

    async def _move(self, channel: AbstractChannel, message: ReceivedMessage) -> bool:
        """Publish a large message to its own queue, and return whether the broker confirmed it."""
        large_queue = self._topology.large_queue(self._queue_name)
        try:
            original = messages.original_message(message)
            await self._call(channel.default_exchange.publish(original, routing_key=large_queue, mandatory=True))
        except DeliveryError as error:  # such as a queue at its maximum length
            log.warning("large_message_not_moved", queue=large_queue, error=repr(error))
            return False
        LARGE_MESSAGES.inc()
        self._progress.record()
        return True

    async def _finish(self, channel: AbstractChannel, message: ReceivedMessage, outcome: HandlerOutcome) -> None:
        if isinstance(outcome, Rejection):
            dead_exchange = await channel.get_exchange(self._topology.dead_exchange, ensure=False)
            copied: Message = messages.dead_letter(message, outcome)
            await self._call(dead_exchange.publish(copied, routing_key=self._queue_name, mandatory=True))
            messages.report_dead_letter(self._queue_name, outcome)
        elif isinstance(outcome, Postponement):
            log.info("message_postponed", queue=self._queue_name, message=outcome.message)
            later = self._topology.postponed_queue(self._queue_name)
            original = messages.original_message(message)
            await self._call(channel.default_exchange.publish(original, routing_key=later, mandatory=True))

    async def _outcomes(self, group: Sequence[ReceivedMessage]) -> Sequence[HandlerOutcome]:
        """Pass the messages to the handler. An error that one message causes rejects only this message."""
        try:
            return await self._with_retries(partial(self._handle, [messages.to_delivery(one) for one in group]))
        except (Stopped, *_BROKER_ERRORS):
            raise
        except Exception as error:
            if len(group) == 1:
                log.error("message_failed", queue=self._queue_name, exc_info=error)
                return [Rejection("internal_error", f"{type(error).__name__}: {error}")]
            log.warning("batch_split", queue=self._queue_name, messages=len(group), error=repr(error))
        return [outcome for message in group for outcome in await self._outcomes([message])]

    async def _with_retries(self, work: Callable[[], Awaitable[T]]) -> T:
        """Retry during an outage instead of a nack, which would count toward the delivery limit. Raises Stopped."""

        def log_retry(error: Exception, delay_s: float) -> None:
            self._progress.record()
            log.warning("batch_retried", queue=self._queue_name, delay_s=round(delay_s, 1), error=repr(error))

        return await with_retries(work, is_temporary, Backoff(0.2, LONGEST_DELAY_S), self._stopping, log_retry)


async def _acknowledge(batch: Sequence[ReceivedMessage], *, multiple: bool) -> None:
    """Acknowledge a batch. With `multiple`, the last acknowledgment includes all earlier messages of the channel."""
    for message in batch[-1:] if multiple else batch:
        await message.ack(multiple=multiple)


async def _reject_unassembled(_: AbstractIncomingMessage) -> None:
    """Fail, because the reader of the connection assembles all messages of the channel. The library logs the error."""
    raise ConsumerLost("the library received a message of the channel")


@asynccontextmanager
async def _watching(
    connection: BrokerConnection, channel: AbstractChannel, queue: str
) -> AsyncIterator[Sequence[LossSignal]]:
    """Provide futures that are done if the channel is closed or the queue has no consumer, while the block runs."""
    check = asyncio.create_task(_check_consumer(connection, queue))
    check.add_done_callback(has_failed)  # the channel can be closed at the same time
    failures = asyncio.ensure_future(channel.closed()), check
    try:
        yield failures
    finally:
        await end_tasks(failures, connection.terminate)


async def _check_consumer(connection: BrokerConnection, queue: str) -> None:
    """Raise ConsumerLost if the queue has no consumer. A lost basic.cancel would otherwise stay unnoticed."""
    while True:
        await asyncio.sleep(_CHECK_CONSUMER_S)
        async with connection.opened_channel() as channel:
            declared = await connection.call(channel.declare_queue(queue, passive=True))
            if declared.declaration_result.consumer_count == 0:
                raise ConsumerLost(f"{queue} has no consumer")
