"""The consumer of a queue: a loop on one channel that starts batches, handles and acknowledges them, and drains."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeVar

from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError
from aiormq.abc import AbstractChannel as UnderlayChannel
from pamqp.commands import Basic

from consumers import messages
from consumers.broker import BROKER_ERRORS, BrokerConnection, ConsumerLost
from consumers.deliveries import ReceivedMessage
from consumers.inbox import ConsumerProgress, Inbox, StartedBatches
from consumers.isolation import Isolation, Subscription
from consumers.loops import LONGEST_DELAY_S
from consumers.messages import LARGE_BYTES, HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.metrics import LARGE_MESSAGES
from consumers.topology import Topology
from service.database.transactions import is_temporary
from service.domain.backoff import Backoff
from service.log import log
from service.progress import report_progress
from service.retries import with_retries
from service.stopping import Stopped, end_tasks, raise_if_canceled

REJECTING_ATTEMPT: Final = 3  # the attempt that rejects a crash suspect without reading it; each is by another process

_RENEW_S: Final = 15.0
_CHECK_LARGE_S: Final = 1.0

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


class ConsumeLoop:
    """The state of a consumer on one channel.

    Only the task of `run` subscribes, starts batches, and acknowledges messages. A batch is a task of its own. Each
    wait has a limit, and so does each call of the broker.
    """

    def __init__(
        self, source: MessageSource, connection: BrokerConnection, channel: AbstractChannel, underlay: UnderlayChannel,
        progress: ConsumerProgress,
    ) -> None:  # fmt: skip
        self.is_consuming = False
        self._source = source
        self._isolation = source.isolation
        self._stopping = source.stopping
        self._call = connection.call
        self._clock_s = source.isolation.clock_s
        self._channel = channel
        self._progress = progress
        self._handler = BatchHandler(source, connection, channel)
        self._changed = asyncio.Event()  # a message, the end of a batch, the loss of the channel, or a stop
        self._inbox = Inbox(source.isolation, source.concurrency, progress)
        self._batches = StartedBatches(source.concurrency, self._changed)
        self._has_suspects = False  # since the start of the subscription
        self._is_canceled = False  # by the broker
        self._renewal_due_s = 0.0
        underlay.on_consumer_cancel_callbacks.add(self._lose_subscription)

    def receive(self, message: ReceivedMessage) -> None:
        """Add a delivered message."""
        self._inbox.add(message)
        self._has_suspects |= messages.is_suspect(message)
        self._renewal_due_s = self._clock_s() + _RENEW_S
        if self._has_suspects or not self._batches.is_full:
            self._changed.set()

    def _lose_subscription(self, _: Basic.Cancel) -> None:
        """End this loop: the queue was deleted, or the broker waited too long for an acknowledgment, for example."""
        self.is_consuming = False
        self._is_canceled = True
        self._changed.set()

    def close(self) -> None:
        """Discard the messages that weren't handled. The broker delivers them again."""
        self._inbox.close()

    async def run(self) -> None:
        """Consume until the process must stop, then drain. Raises an error if the channel or the consumer is lost.

        Each change of the prefetch count requires a new subscription.
        """
        self._closed = asyncio.ensure_future(self._channel.closed())
        signals: list[asyncio.Future[Any]] = [self._closed, asyncio.create_task(self._stopping.wait())]
        for signal in signals:
            signal.add_done_callback(lambda _: self._changed.set())
        try:
            while not self._stopping.is_set():
                subscription = await self._try_subscribe()
                if subscription is None:
                    self.is_consuming = True
                    await self._wait(_CHECK_LARGE_S)
                    continue
                try:
                    await self._consume(subscription)
                finally:
                    self._isolation.unsubscribe(subscription)
        finally:
            self.is_consuming = False
            await end_tasks([*signals, *self._batches.tasks])

    async def _try_subscribe(self) -> Subscription | None:
        """Return a subscription to start. While the queues are isolated, an empty one takes no turn of another one."""
        if self._source.sizes == "large" and self._isolation.is_active and not await self._has_waiting_messages():
            self._isolation.stop_waiting(self._source.name)
            return None
        return self._isolation.try_subscribe(self._source.name, self._source.concurrency, self._changed)

    async def _consume(self, subscription: Subscription) -> None:
        """Handle messages until the process must stop, or the subscription is outdated. Then drain."""
        queue = await self._channel.get_queue(self._source.name, ensure=False)
        self._has_suspects = False
        await self._call(self._channel.set_qos(subscription.prefetch_count))
        tag = await self._call(queue.consume(_reject_unassembled))
        self.is_consuming = True
        self._renewal_due_s = self._clock_s() + _RENEW_S
        while self._is_current(subscription):
            self._start_batches()
            await self._wait(min(self._isolation.remaining_s(subscription), _RENEW_S))
            await self._acknowledge()
        await self._call(queue.cancel(tag))
        if not subscription.is_isolated:
            for suspect in self._inbox.discard_suspects():
                await self._call(suspect.requeue())
        while self._inbox or self._batches:
            self._start_batches()
            await self._wait(_RENEW_S)
            await self._acknowledge()

    def _is_current(self, subscription: Subscription) -> bool:
        """Return whether messages can be handled. A crash suspect must not be handled at the same time as others.

        An idle subscription is replaced at intervals, because the broker can lose it without a notification, and the
        number of consumers of a queue doesn't tell whether this one is among them.
        """
        if self._stopping.is_set() or (self._has_suspects and not subscription.is_isolated):
            return False
        if not (self._inbox or self._batches) and self._clock_s() >= self._renewal_due_s:
            return False
        return self._isolation.is_current(subscription)

    def _start_batches(self) -> None:
        while not self._batches.is_full and (batch := self._inbox.take_batch()):
            self._batches.start(batch, self._handle(batch))

    async def _handle(self, batch: Sequence[ReceivedMessage]) -> None:
        with self._progress.handling():
            await self._handler.handle(batch)

    async def _wait(self, limit_s: float) -> None:
        """Wait until the state has changed, or a finished batch must be acknowledged. Raises ConsumerLost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(limit_s, self._batches.remaining_s())):
                await self._changed.wait()
        self._changed.clear()
        if self._closed.done():
            raise ConsumerLost(f"the channel of {self._source.name} is closed")
        if self._is_canceled:
            raise ConsumerLost(f"the broker canceled the subscription to {self._source.name}")

    async def _acknowledge(self) -> None:
        for message, is_multiple in self._batches.take_finished():
            await self._call(message.ack(multiple=is_multiple))

    async def _has_waiting_messages(self) -> bool:
        """Return whether the queue contains messages. Raises an error if the queue was deleted."""
        queue = await self._call(self._channel.declare_queue(self._source.name, passive=True))
        return bool(queue.declaration_result.message_count)


async def _reject_unassembled(_: AbstractIncomingMessage) -> None:
    """Fail, because the reader of the connection assembles all messages of the channel. The library logs the error."""
    raise ConsumerLost("the library received a message of the channel")


class BatchHandler:
    """Handles batches on one channel, and publishes copies of the messages that aren't stored.

    The caller acknowledges the messages afterwards.
    """

    def __init__(self, source: MessageSource, connection: BrokerConnection, channel: AbstractChannel) -> None:
        self._source = source
        self._call = connection.call
        self._user = connection.user
        self._channel = channel

    async def handle(self, batch: Sequence[ReceivedMessage]) -> None:
        """Handle a batch. A crash suspect is a batch of its own. Raises an error if the broker or consumer is lost."""
        if len(batch) == 1 and messages.is_suspect(batch[0]):
            await self._handle_suspect(batch[0])
        else:
            await self._handle_group(batch)

    async def _handle_suspect(self, message: ReceivedMessage) -> None:
        """Record the attempt before the message is read. Reject the message if too many processes have ended."""
        suspects, key = self._source.isolation.suspects, (self._source.queue, messages.body_sha256(message))
        try:
            attempt_count = await self._source.retry(partial(suspects.start_attempt, *key))
            if attempt_count >= REJECTING_ATTEMPT:
                text = f"{attempt_count - 1} processes ended while they handled the message alone"
                await self._publish_copy(message, Rejection("crash_suspect", text))
            else:
                await self._handle_group([message])
            await self._source.retry(partial(suspects.clear, *key))
        except BaseException:  # also a cancellation: the process continues, so the message hasn't crashed it
            await suspects.withdraw(*key)
            raise

    async def _handle_group(self, group: Sequence[ReceivedMessage]) -> None:
        """Handle the messages. Large ones are moved last, because a move waits until the broker has written them."""
        large = [message for message in group if self._should_move(message)]
        await self._handle_all([message for message in group if message not in large])
        await self._handle_all([message for message in large if not await self._move(message)])

    async def _handle_all(self, handled: Sequence[ReceivedMessage]) -> None:
        outcomes = await self._outcomes(handled) if handled else []
        for message, outcome in zip(handled, outcomes, strict=True):
            if outcome is not None:
                await self._publish_copy(message, outcome)
            report_progress()

    async def _outcomes(self, group: Sequence[ReceivedMessage]) -> Sequence[HandlerOutcome]:
        """Pass the messages to the handler. An unexpected error rejects the message that the handler had alone.

        After an error for several messages, the broker delivers them again, and each is then handled alone.
        """
        try:
            return await self._source.handle([messages.to_delivery(message, self._user) for message in group])
        except (Stopped, *BROKER_ERRORS):
            raise
        except Exception as error:
            raise_if_canceled()
            if len(group) > 1 or is_temporary(error):
                raise ConsumerLost(f"the handler of {self._source.queue} failed: {error!r}") from error
            log.error("message_failed", queue=self._source.queue, exc_info=error)
            return [Rejection("internal_error", f"{type(error).__name__}: {error}")]

    def _should_move(self, message: ReceivedMessage) -> bool:
        """Return whether a message is large. A crash suspect stays, because the broker counts its deliveries."""
        return self._source.sizes == "small" and message.body_size > LARGE_BYTES and not messages.is_suspect(message)

    async def _move(self, message: ReceivedMessage) -> bool:
        """Publish a large message to its own queue, and return whether the broker confirmed it."""
        large_queue = self._source.topology.large_queue(self._source.queue)
        try:
            await self._publish_to(large_queue, messages.original_message(message, self._user))
        except DeliveryError as error:  # such as a queue at its maximum length
            log.warning("large_message_not_moved", queue=large_queue, error=repr(error))
            return False
        LARGE_MESSAGES.inc()
        report_progress()
        return True

    async def _publish_copy(self, message: ReceivedMessage, outcome: Rejection | Postponement) -> None:
        """Publish a copy of a message that isn't stored: a dead letter, or the original for a later delivery."""
        queue, topology = self._source.queue, self._source.topology
        if isinstance(outcome, Postponement):
            log.info("message_postponed", queue=queue, message=outcome.message)
            original = messages.original_message(message, self._user)
            return await self._publish_to(topology.postponed_queue(queue), original)
        dead_exchange = await self._channel.get_exchange(topology.dead_exchange, ensure=False)
        dead_letter = messages.dead_letter(message, outcome, self._user)
        await self._call(dead_exchange.publish(dead_letter, routing_key=queue, mandatory=True))
        return messages.report_dead_letter(queue, outcome)

    async def _publish_to(self, queue: str, message: Message) -> None:
        await self._call(self._channel.default_exchange.publish(message, routing_key=queue, mandatory=True))
