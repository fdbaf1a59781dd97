"""Handling of the messages of one batch: each is stored, becomes a dead letter, or is published for later."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from aio_pika import Message
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import DeliveryError

from consumers import messages
from consumers.broker import BROKER_ERRORS, BrokerConnection, ConsumerLost
from consumers.deliveries import ReceivedMessage
from consumers.messages import LARGE_BYTES, HandlerOutcome, Postponement, Rejection
from consumers.metrics import LARGE_MESSAGES
from consumers.sources import MessageSource
from service.database.transactions import is_temporary
from service.log import log
from service.progress import report_progress
from service.stopping import Stopped, raise_if_canceled

MAX_CRASHES: Final = 3  # processes that attempt a crash suspect; the last one doesn't read it


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
            if attempt_count >= MAX_CRASHES:
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
