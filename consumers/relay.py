"""The role relay: the relay publishes outbox messages to the broker, and a loop numbers events.

Without a broker, the embedded queue passes the outbox messages to handlers.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

import aio_pika
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import DeliveryError

from consumers.broker import BrokerConnection, ConsumerLost
from consumers.loops import Loop, repeat_on_notifications
from consumers.messages import Delivery, MessageHandler, Postponement, Rejection, report_dead_letter
from consumers.metrics import RELAYED
from consumers.topology import Topology
from service.database.database import Connection, Pool
from service.database.errors import is_outage
from service.events import outbox
from service.events import store as events_store
from service.events.operations import NumberingStart, number_events
from service.events.outbox import OutboxMessage
from service.log import log
from service.tracing.spans import sending

_MAX_UNCONFIRMED: Final = 200  # messages
_CONFIRM_TIMEOUT_S: Final = 5.0  # shorter than the idle_in_transaction_session_timeout
_UNROUTABLE_DELAY: Final = timedelta(seconds=30)
_POSTPONE_DELAY: Final = timedelta(seconds=5)
_RETRY_DELAYS_S: Final = (1, 5, 30, 120, 600)  # of the embedded queue; the next failure makes a dead letter
_JSON: Final = "application/json"


class Relay:
    """The publisher of the outbox. Of all running relays, one publishes at a time."""

    def __init__(self, pool: Pool, topology: Topology, stopping: asyncio.Event) -> None:
        self._pool = pool
        self._topology = topology
        self._stopping = stopping
        self.is_connected = False

    async def run(self, connection: BrokerConnection) -> None:
        """Publish until the process must stop. Raises an error if the broker is lost."""
        async with connection.opened_channel(publisher_confirms=True, on_return_raises=True) as channel:

            async def publish(store: Connection) -> bool:
                return await self._publish_due(store, channel.default_exchange)

            self.is_connected = True
            try:
                await repeat_on_notifications("relay", self._pool, outbox.MESSAGES_WRITTEN, publish, self._stopping)
            finally:
                self.is_connected = False

    def unchanged_s(self) -> float:
        """Return 0, because the relay receives no messages."""
        return 0.0

    async def _publish_due(self, store: Connection, exchange: AbstractExchange) -> bool:
        """Publish due messages and delete the confirmed ones. Return whether more messages might be due.

        A message can be published twice. The repetition has no effect, because the task is already leased or finished.
        """
        async with store.transaction():
            if not await outbox.lock(store):
                return False
            due = await outbox.find_due(store, _MAX_UNCONFIRMED)
            outcomes = await asyncio.gather(
                *(self._publish(exchange, message) for message in due), return_exceptions=True
            )
            confirmed = [message.outbox_id for message, outcome in zip(due, outcomes, strict=True) if outcome is None]
            if confirmed:
                await outbox.delete(store, confirmed)
            await _postpone_unroutable(store, due, outcomes)
        RELAYED.inc(len(confirmed))
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, DeliveryError):
                raise ConsumerLost(f"the broker did not confirm a message: {outcome!r}") from outcome
        return len(due) == _MAX_UNCONFIRMED

    async def _publish(self, exchange: AbstractExchange, message: OutboxMessage) -> None:
        queue = self._topology.queue(message.queue)
        with sending(queue, message.trace_context) as headers:
            published = aio_pika.Message(
                message.payload.encode(),
                headers=dict(headers),
                content_type=_JSON,
                message_id=str(message.outbox_id),
                delivery_mode=DeliveryMode.PERSISTENT,
            )
            await exchange.publish(published, routing_key=queue, mandatory=True, timeout=_CONFIRM_TIMEOUT_S)


class EmbeddedQueue:
    """The outbox as the queue itself, for an installation without a broker. It has retries and dead letters."""

    def __init__(self, pool: Pool, handlers: Mapping[str, MessageHandler], stopping: asyncio.Event) -> None:
        self._pool = pool
        self._handlers = handlers
        self._stopping = stopping

    async def run(self) -> None:
        """Pass messages to their handlers until the process must stop."""
        await repeat_on_notifications(
            "embedded_queue", self._pool, outbox.MESSAGES_WRITTEN, self._deliver_due, self._stopping
        )

    async def _deliver_due(self, store: Connection) -> bool:
        due = await outbox.find_due(store, _MAX_UNCONFIRMED, list(self._handlers))
        for message in due:
            if not self._stopping.is_set():
                await self._deliver(store, message)
        return len(due) == _MAX_UNCONFIRMED

    async def _deliver(self, store: Connection, message: OutboxMessage) -> None:
        """Handle one message; then delete it, postpone it, or move it to the dead letters."""
        delivery = Delivery(message.payload.encode(), _JSON, {})
        try:
            [outcome] = await self._handlers[message.queue]([delivery])
        except Exception as error:
            if is_outage(error):
                raise
            log.warning("message_failed", queue=message.queue, attempt_count=message.attempt_count + 1, exc_info=error)
            return await self._retry_later(store, message, error)
        if isinstance(outcome, Rejection):
            return await _move_to_dead_letters(store, message, outcome)
        if isinstance(outcome, Postponement):
            return await outbox.postpone(store, message.outbox_id, _POSTPONE_DELAY)
        RELAYED.inc()
        return await outbox.delete(store, [message.outbox_id])

    async def _retry_later(self, store: Connection, message: OutboxMessage, error: Exception) -> None:
        if message.attempt_count >= len(_RETRY_DELAYS_S):
            return await _move_to_dead_letters(store, message, Rejection("internal_error", repr(error)))
        delay = timedelta(seconds=_RETRY_DELAYS_S[message.attempt_count])
        return await outbox.postpone(store, message.outbox_id, delay, failed=True)


async def _postpone_unroutable(
    store: Connection, due: Sequence[OutboxMessage], outcomes: Sequence[BaseException | None]
) -> None:
    for message, outcome in zip(due, outcomes, strict=True):
        if isinstance(outcome, DeliveryError):
            log.error("message_unroutable", queue=message.queue, outbox_id=message.outbox_id)
            await outbox.postpone(store, message.outbox_id, _UNROUTABLE_DELAY)


async def _move_to_dead_letters(store: Connection, message: OutboxMessage, rejection: Rejection) -> None:
    report_dead_letter(message.queue, rejection)
    await outbox.move_to_dead_letters(store, message.outbox_id, rejection.reason, rejection.message)


def numbering_loop(pool: Pool, stopping: asyncio.Event) -> Loop:
    """Return a loop that numbers events whenever a transaction has written some."""

    start = NumberingStart()

    async def number(_: Connection) -> bool:
        await number_events(pool, start)
        return False

    return lambda: repeat_on_notifications("event_numbering", pool, events_store.EVENTS_WRITTEN, number, stopping)
