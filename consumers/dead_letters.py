"""The dead letters of every queue, for the person who has to decide: list, show, replay, discard."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from consumers.topology import RUN_COMPLETED, Topology
from service.domain.errors import ServiceError
from service.store import outbox
from service.store.postgres.database import Connection

_OURS: Final = ("x-reason", "x-message", "x-queue", "x-death", "x-delivery-count", "x-acquired-count")
_CONNECT_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. In the broker its id is the beginning of the SHA-256 of its body, which survives a re-queue."""

    id: str
    queue: str
    reason: str
    message: str
    dead_lettered_at: str | None
    body: bytes


class DeadLetterStore(Protocol):
    """The dead letters as they are now. What is not taken out stays."""

    async def list_oldest(self, limit: int) -> Sequence[DeadLetter]:
        """The oldest dead letters of each queue, at most so many."""

    async def replay(self, letter: DeadLetter) -> None:
        """Sends the original on its way again, and only then takes the letter out."""

    async def discard(self, letter: DeadLetter) -> None:
        """Takes the letter out for good."""


class BrokerDeadLetters:
    """Dead letters in RabbitMQ, which lends them to us until the block ends."""

    def __init__(self, channel: AbstractChannel, topology: Topology) -> None:
        self._channel = channel
        self._topology = topology
        self._lent: dict[int, AbstractIncomingMessage] = {}  # by identity: two letters may be equal

    async def list_oldest(self, limit: int) -> list[DeadLetter]:
        """The oldest of each queue, at most so many in all."""
        found: list[DeadLetter] = []
        for name in self._topology.queues:
            queue = await self._channel.get_queue(self._topology.dead_queue(name))
            while len(found) < limit and (incoming := await queue.get(fail=False)):
                letter = _read(name, incoming)
                self._lent[id(letter)] = incoming
                found.append(letter)
        return found

    async def replay(self, letter: DeadLetter) -> None:
        """Publishes the original again, confirmed, and only then takes the letter out."""
        incoming = self._lent[id(letter)]
        exchange, key = self._channel.default_exchange, letter.queue
        if letter.queue == self._topology.runs_queue:
            exchange, key = await self._channel.get_exchange(self._topology.runs_exchange), RUN_COMPLETED
        await exchange.publish(_original(incoming), routing_key=key, mandatory=True)
        await incoming.ack()

    async def discard(self, letter: DeadLetter) -> None:
        """Takes the letter out for good."""
        await self._lent[id(letter)].ack()


class EmbeddedDeadLetters:
    """Dead letters in the store, where there is no broker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_oldest(self, limit: int) -> list[DeadLetter]:
        """The oldest, at most so many."""
        return [
            DeadLetter(
                str(row["dead_letter_id"]), row["queue"], row["reason"], row["message"],
                row["created_at"].isoformat(timespec="seconds"), row["payload"].encode(),
            )
            for row in await outbox.find_dead_letters(self._connection, limit)
        ]  # fmt: skip

    async def replay(self, letter: DeadLetter) -> None:
        """Puts the message back into the outbox."""
        await outbox.replay(self._connection, int(letter.id))

    async def discard(self, letter: DeadLetter) -> None:
        """Takes the letter out for good."""
        await outbox.discard(self._connection, int(letter.id))


class NoBroker(ServiceError):
    """The broker can't be reached; the message says what to do about it."""


@asynccontextmanager
async def open_dead_letters(url: str, topology: Topology) -> AsyncIterator[BrokerDeadLetters]:
    """Holds the broker's dead letters while the block runs. Raises NoBroker."""
    async with await _connect(url) as connection:
        async with connection.channel() as channel:
            await topology.declare(channel)
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            yield BrokerDeadLetters(channel, topology)


async def _connect(url: str) -> AbstractConnection:
    try:
        return await aio_pika.connect(url, timeout=_CONNECT_TIMEOUT_S)
    except (AMQPError, OSError, TimeoutError) as error:
        advice = "is it running, and is RESULTS_AMQP_URL right?"
        raise NoBroker(f"RabbitMQ does not answer ({error or 'no answer in time'}): {advice}") from error


def _read(queue: str, incoming: AbstractIncomingMessage) -> DeadLetter:
    """Reads our headers, and the broker's where it buried the message itself."""
    headers = incoming.headers
    return DeadLetter(
        id=sha256(incoming.body).hexdigest()[:12],
        queue=queue,
        reason=str(headers.get("x-reason") or headers.get("x-last-death-reason") or "unknown"),
        message=str(headers.get("x-message") or "moved here by the broker"),
        dead_lettered_at=incoming.timestamp.isoformat(timespec="seconds") if incoming.timestamp else None,
        body=incoming.body,
    )


def _original(incoming: AbstractIncomingMessage) -> Message:
    headers = {name: value for name, value in incoming.headers.items() if not name.startswith(_OURS)}
    return Message(
        incoming.body,
        headers=headers,
        content_type=incoming.content_type,
        content_encoding=incoming.content_encoding,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
