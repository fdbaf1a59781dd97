"""The consume loop: batches, acknowledgments, dead letters, drain. Handlers interpret the messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from functools import partial
from typing import Any, Final, Literal, TypeVar

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, DeliveryError

from consumers import messages
from consumers.connections import BrokerConnection
from consumers.deliveries import ReceivedMessage
from consumers.inbox import Inbox, LossSignal
from consumers.isolation import Isolation
from consumers.loops import LONGEST_DELAY_S
from consumers.messages import HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.metrics import LARGE_MESSAGES
from consumers.topology import Topology
from service.domain.backoff import Backoff
from service.log import log
from service.retries import with_retries
from service.stopping import Stopped
from service.store.postgres.retries import is_temporary

MAX_CRASHES: Final = 3  # attempts of a crash suspect; the last one becomes a dead letter without being read
LARGE_BYTES: Final = 256 * 2**10  # moving a larger message takes much less time than handling it

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

    While it handles a batch, the messages of the next one arrive, so an idle consumer adds no delay. It handles a
    message that might have crashed a consumer while no other message is unacknowledged, so that a crash raises only the
    delivery count of that message.
    """

    def __init__(
        self, topology: Topology, queue: str, handle: MessageHandler, isolation: Isolation, stopping: asyncio.Event,
        sizes: MessageSizes = "mixed",
    ) -> None:  # fmt: skip
        self._topology = topology
        self._queue_name = queue  # of the producers; it also identifies dead letters and crash suspects
        self._source = topology.large_queue(queue) if sizes == "large" else queue
        self._sizes = sizes
        self._handle = handle
        self._isolation = isolation
        self._stopping = stopping

    async def run(self, connection: BrokerConnection) -> None:
        """Consume until `stopping` is set, then drain. Raises an error if the channel or the consumer is lost.

        Each change of the prefetch count requires a new subscription.
        """
        self._isolation.restart()
        opening = connection.channel(publisher_confirms=True, on_return_raises=True)
        with closing(Inbox(self._isolation)) as inbox, ExitStack() as after_channel:
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
                prefetch_count = 1 if isolated else self._isolation.prefetch_count()
                await channel.set_qos(prefetch_count)
                tag = await queue.consume(_reject_unassembled)
                async with _watching(channel, _check_consumer(connection, self._source)) as failures:
                    await self._handle_arrivals(channel, inbox, failures, None if isolated else prefetch_count)
                await self._drain(channel, inbox, queue, tag, isolated=isolated)

    async def _wait_until_useful(self, channel: AbstractChannel) -> None:
        """Wait while the queues are isolated and this one is empty, so that it takes no turn of the other one."""
        while self._isolation.is_active and not self._stopping.is_set():
            declared = await channel.declare_queue(self._source, passive=True)
            if declared.declaration_result.message_count:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _CHECK_LARGE_S)

    async def _handle_arrivals(
        self,
        channel: AbstractChannel,
        inbox: Inbox,
        failures: Sequence[LossSignal],
        prefetch_count: int | None,
    ) -> None:
        """Handle messages until the process must stop, or the subscription is outdated.

        `prefetch_count` is None for an isolated subscription, which is outdated when its turn ends.
        """
        isolated = prefetch_count is None
        change = self._isolation.wait_for_end_of_turn(self._source) if isolated else self._isolation.started.wait()
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(change)]
        try:
            while not self._stopping.is_set():
                await inbox.wait(*waits, *failures)
                for failure in failures:
                    if failure.done():
                        failure.result()
                        raise ConsumerLost(f"the channel of {self._source} is closed")
                if not self._is_current(prefetch_count):
                    return
                if batch := inbox.take_batch():
                    await self._handle_batch(channel, batch)
        finally:
            for wait in waits:
                wait.cancel()

    def _is_current(self, prefetch_count: int | None) -> bool:
        if prefetch_count is None:
            return self._isolation.is_turn(self._source)
        return not self._isolation.is_active and not self._isolation.is_outdated(prefetch_count)

    async def _drain(
        self, channel: AbstractChannel, inbox: Inbox, queue: AbstractQueue, tag: str, *, isolated: bool
    ) -> None:
        """Cancel the subscription and handle the delivered messages. Return suspects that aren't alone to the queue."""
        await queue.cancel(tag)
        suspects = inbox.take_suspects()
        while batch := inbox.take_batch():
            await self._handle_group(channel, batch, multiple=not suspects)
        if isolated and len(suspects) == 1:
            return await self._handle_suspect(channel, suspects[0])
        for message in suspects:
            await message.requeue()
        return None

    async def _handle_batch(self, channel: AbstractChannel, batch: Sequence[ReceivedMessage]) -> None:
        if len(batch) == 1 and messages.is_suspect(batch[0]):
            await self._handle_suspect(channel, batch[0])
        else:
            await self._handle_group(channel, batch, multiple=True)

    async def _handle_suspect(self, channel: AbstractChannel, message: ReceivedMessage) -> None:
        """Count the attempt before the message is read. Reject the message if too many attempts have crashed."""
        key = self._queue_name, messages.body_sha256(message)
        attempt_count = await self._with_retries(partial(self._isolation.suspects.count_attempt, *key))
        try:
            if attempt_count >= MAX_CRASHES:
                text = f"the message was not acknowledged in {attempt_count - 1} attempts that handled it alone"
                await self._finish(channel, message, Rejection("crash_suspect", text))
                await message.ack()
            else:
                await self._handle_group(channel, [message], multiple=False)
        except Stopped:
            await self._with_retries(partial(self._isolation.suspects.withdraw_attempt, *key))
            raise
        await self._with_retries(partial(self._isolation.suspects.clear, *key))

    async def _handle_group(
        self, channel: AbstractChannel, group: Sequence[ReceivedMessage], *, multiple: bool
    ) -> None:
        """Handle the messages, publish a copy of those that aren't stored, and only then acknowledge.

        Large messages are moved last, because a move waits for the broker to write them to its disk.
        """
        large = [message for message in group if self._should_move(message)]
        await self._handle_all(channel, [message for message in group if message not in large])
        await self._handle_all(channel, [message for message in large if not await self._move(channel, message)])
        for message in group[-1:] if multiple else group:
            await message.ack(multiple=multiple)

    async def _handle_all(self, channel: AbstractChannel, handled: Sequence[ReceivedMessage]) -> None:
        outcomes = await self._outcomes(handled) if handled else []
        for message, outcome in zip(handled, outcomes, strict=True):
            await self._finish(channel, message, outcome)

    def _should_move(self, message: ReceivedMessage) -> bool:
        """Return whether a message is large. A crash suspect stays, because the broker counts its deliveries."""
        return self._sizes == "small" and message.body_size > LARGE_BYTES and not messages.is_suspect(message)

    async def _move(self, channel: AbstractChannel, message: ReceivedMessage) -> bool:
        """Publish a large message to its own queue, and return whether the broker confirmed it."""
        large_queue = self._topology.large_queue(self._queue_name)
        try:
            original = messages.original_message(message)
            await channel.default_exchange.publish(original, routing_key=large_queue, mandatory=True)
        except DeliveryError as error:  # such as a queue at its maximum length
            log.warning("large_message_not_moved", queue=large_queue, error=repr(error))
            return False
        LARGE_MESSAGES.inc()
        return True

    async def _finish(self, channel: AbstractChannel, message: ReceivedMessage, outcome: HandlerOutcome) -> None:
        if isinstance(outcome, Rejection):
            dead_exchange = await channel.get_exchange(self._topology.dead_exchange, ensure=False)
            copied: Message = messages.dead_letter(message, outcome)
            await dead_exchange.publish(copied, routing_key=self._queue_name, mandatory=True)
            messages.report_dead_letter(self._queue_name, outcome)
        elif isinstance(outcome, Postponement):
            log.info("message_postponed", queue=self._queue_name, message=outcome.message)
            later = self._topology.postponed_queue(self._queue_name)
            original = messages.original_message(message)
            await channel.default_exchange.publish(original, routing_key=later, mandatory=True)

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
            log.warning("batch_retried", queue=self._queue_name, delay_s=round(delay_s, 1), error=repr(error))

        return await with_retries(work, is_temporary, Backoff(0.2, LONGEST_DELAY_S), self._stopping, log_retry)


async def _reject_unassembled(_: AbstractIncomingMessage) -> None:
    """Fail, because the reader of the connection assembles all messages of the channel. The library logs the error."""
    raise ConsumerLost("the library received a message of the channel")


@asynccontextmanager
async def _watching(channel: AbstractChannel, check: Coroutine[Any, Any, None]) -> AsyncIterator[Sequence[LossSignal]]:
    """Provide futures that are done if the channel is closed or the check fails, while the block runs."""
    failures = asyncio.ensure_future(channel.closed()), asyncio.create_task(check)
    try:
        yield failures
    finally:
        for failure in failures:
            failure.cancel()
        await asyncio.gather(*failures, return_exceptions=True)


async def _check_consumer(connection: BrokerConnection, queue: str) -> None:
    """Raise ConsumerLost if the queue has no consumer. A lost basic.cancel would otherwise stay unnoticed."""
    while True:
        await asyncio.sleep(_CHECK_CONSUMER_S)
        async with connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            if declared.declaration_result.consumer_count == 0:
                raise ConsumerLost(f"{queue} has no consumer")
