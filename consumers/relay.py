"""What transactions wanted sent, on its way: to the broker, or without one straight to the handlers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import aio_pika
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError

from consumers.loops import pause, retry_on_outage
from consumers.metrics import DEAD_LETTERS, RELAYED
from consumers.topology import Topology
from consumers.worker import ConsumerLost, Delivery, MessageHandler, Rejection
from service.log import log
from service.store import outbox
from service.store.outbox import OutboxMessage
from service.store.postgres.database import Connection, Pool, is_outage

_WINDOW: Final = 200  # messages that wait for their confirms at once
_POLL_S: Final = 1.0  # behind the notifications, which a lost connection takes with it
_CONFIRM_TIMEOUT_S: Final = 5.0  # below the time that a transaction may be idle
_UNROUTABLE_WAIT: Final = timedelta(seconds=30)
_RETRY_WAITS_S: Final = (1, 5, 30, 120, 600)  # after each failed try without a broker, then a dead letter
_JSON: Final = "application/json"

# Takes what is due from the outbox; returns how many messages it met.
Forward = Callable[[Connection], Awaitable[int]]


class Relay:
    """Publishes the outbox, one relay at a time however many run."""

    def __init__(self, pool: Pool, topology: Topology, stopping: asyncio.Event) -> None:
        self._pool = pool
        self._topology = topology
        self._stopping = stopping

    async def run(self, connection: AbstractConnection) -> None:
        """Until told to stop. Raises where the broker is lost."""
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:

            async def forward(store: Connection) -> int:
                return await self._publish(store, channel.default_exchange)

            await _watch(self._pool, self._stopping, forward)

    async def _publish(self, store: Connection, exchange: AbstractExchange) -> int:
        """Deletes what the broker has confirmed, and nothing else; what is published twice finds its work done."""
        async with store.transaction():
            if not await outbox.lock(store):
                return 0
            due = await outbox.due(store, _WINDOW)
            outcomes = await asyncio.gather(*(self._send(exchange, one) for one in due), return_exceptions=True)
            arrived = [one.outbox_id for one, outcome in zip(due, outcomes, strict=True) if outcome is None]
            if arrived:
                await outbox.delete(store, arrived)
            await _postpone_refused(store, due, outcomes)
        RELAYED.inc(len(arrived))
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, DeliveryError):
                raise ConsumerLost(f"the broker did not confirm: {outcome!r}") from outcome
        return len(due)

    async def _send(self, exchange: AbstractExchange, waiting: OutboxMessage) -> None:
        message = aio_pika.Message(
            waiting.payload.encode(),
            content_type=_JSON,
            message_id=str(waiting.outbox_id),
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        queue = self._topology.job_queue(waiting.queue)
        await exchange.publish(message, routing_key=queue, mandatory=True, timeout=_CONFIRM_TIMEOUT_S)


class EmbeddedQueue:
    """The outbox as the queue itself, for an installation without a broker: retries and dead letters included."""

    def __init__(self, pool: Pool, handlers: Mapping[str, MessageHandler], stopping: asyncio.Event) -> None:
        self._pool = pool
        self._handlers = handlers
        self._stopping = stopping

    async def run(self) -> None:
        """Until told to stop."""
        await _watch(self._pool, self._stopping, self._hand_over)

    async def _hand_over(self, store: Connection) -> int:
        due = await outbox.due(store, _WINDOW, list(self._handlers))
        for waiting in due:
            if not self._stopping.is_set():
                await self._take(store, waiting)
        return len(due)

    async def _take(self, store: Connection, waiting: OutboxMessage) -> None:
        """As a broker would: done, another try later, or a dead letter."""
        delivery = Delivery(waiting.payload.encode(), _JSON, {})
        try:
            [verdict] = await self._handlers[waiting.queue]([delivery])
        except Exception as error:
            if is_outage(error):
                raise
            log.warning("message_failed", queue=waiting.queue, attempt_count=waiting.attempt_count + 1, exc_info=error)
            return await self._retry(store, waiting, error)
        if verdict is None:
            RELAYED.inc()
            return await outbox.delete(store, [waiting.outbox_id])
        return await _bury(store, waiting, verdict)

    async def _retry(self, store: Connection, waiting: OutboxMessage, error: Exception) -> None:
        if waiting.attempt_count + 1 >= len(_RETRY_WAITS_S):
            return await _bury(store, waiting, Rejection("internal_error", repr(error)))
        wait = timedelta(seconds=_RETRY_WAITS_S[waiting.attempt_count])
        return await outbox.postpone(store, waiting.outbox_id, wait)


async def _watch(pool: Pool, stopping: asyncio.Event, forward: Forward) -> None:
    """Forwards whenever something was put, and every second in case that went unheard."""
    wake = asyncio.Event()

    async def listen() -> None:
        async with pool.acquire() as store, outbox.listening(store, wake.set):
            while not stopping.is_set():
                wake.clear()
                if await forward(store) < _WINDOW:
                    await pause(_POLL_S, wake, stopping)

    await retry_on_outage("outbox", listen, stopping)


async def _postpone_refused(
    store: Connection, due: Sequence[OutboxMessage], outcomes: Sequence[BaseException | None]
) -> None:
    for waiting, outcome in zip(due, outcomes, strict=True):
        if isinstance(outcome, DeliveryError):
            log.error("message_unroutable", queue=waiting.queue, outbox_id=waiting.outbox_id)
            await outbox.postpone(store, waiting.outbox_id, _UNROUTABLE_WAIT)


async def _bury(store: Connection, waiting: OutboxMessage, verdict: Rejection) -> None:
    DEAD_LETTERS.labels(waiting.queue, verdict.reason).inc()
    log.warning("dead_letter", queue=waiting.queue, reason=verdict.reason, message=verdict.message)
    await outbox.move_to_dead_letters(store, waiting.outbox_id, verdict.reason, verdict.message)
