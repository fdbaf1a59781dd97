"""The dead letters of every queue, as operators list, show, replay, and discard them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from consumers.broker import CONNECT_TIMEOUT_S, BrokerConnection, connect
from consumers.messages import original_message
from consumers.pamqp_internals import UNDECODABLE
from consumers.topology import Topology
from service.database.database import Connection
from service.domain.errors import ServiceError
from service.events import outbox

_BROKER_REASON: Final = "x-last-death-reason"


@dataclass(frozen=True, slots=True, eq=False)  # two dead letters can have equal fields
class DeadLetter:
    """A dead letter. In the broker, its ID is a prefix of the SHA-256 of its body, because a requeue keeps the body."""

    id: str
    queue: str
    reason: str
    message: str
    dead_lettered_at: str | None
    body: bytes
    undecodable: str | None = None  # names of the properties and headers that the client library can't decode


class DeadLetterStore(Protocol):
    """The dead letters of all queues. A dead letter stays until it is replayed or discarded."""

    async def list_oldest(self, limit: int) -> Sequence[DeadLetter]:
        """Return at most `limit` dead letters, oldest first within each queue."""

    async def replay(self, dead_letter: DeadLetter) -> None:
        """Send the original message again, and then remove the dead letter."""

    async def discard(self, dead_letter: DeadLetter) -> None:
        """Delete the dead letter."""


class BrokerDeadLetters:
    """The dead letters in RabbitMQ. The messages are unacknowledged, and so reserved, until the channel closes."""

    def __init__(self, channel: AbstractChannel, topology: Topology, user: str) -> None:
        self._channel = channel
        self._user = user
        self._topology = topology
        self._unacknowledged: dict[DeadLetter, AbstractIncomingMessage] = {}

    async def list_oldest(self, limit: int) -> list[DeadLetter]:
        """Return at most `limit` dead letters, oldest first within each queue."""
        found: list[DeadLetter] = []
        for name in self._topology.queues:
            queue = await self._channel.get_queue(self._topology.dead_queue(name))
            while len(found) < limit and (incoming := await queue.get(fail=False)):
                dead_letter = _parse(name, incoming)
                self._unacknowledged[dead_letter] = incoming
                found.append(dead_letter)
        return found

    async def replay(self, dead_letter: DeadLetter) -> None:
        """Publish the original message, wait for the publisher confirm, and then remove the dead letter.

        The message goes only to its original queue: other queues of the exchange have received it already.
        """
        incoming = self._unacknowledged[dead_letter]
        original = original_message(incoming, self._user)
        await self._channel.default_exchange.publish(original, routing_key=dead_letter.queue, mandatory=True)
        await incoming.ack()

    async def discard(self, dead_letter: DeadLetter) -> None:
        """Delete the dead letter."""
        await self._unacknowledged[dead_letter].ack()


class EmbeddedDeadLetters:
    """The dead letters of the embedded queue, in PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def list_oldest(self, limit: int) -> list[DeadLetter]:
        """Return at most `limit` dead letters, oldest first."""
        return [
            DeadLetter(
                str(row["dead_letter_id"]), row["queue"], row["reason"], row["message"],
                row["created_at"].isoformat(timespec="seconds"), row["payload"].encode(),
            )
            for row in await outbox.find_dead_letters(self._connection, limit)
        ]  # fmt: skip

    async def replay(self, dead_letter: DeadLetter) -> None:
        """Move the message back to the outbox."""
        await outbox.replay(self._connection, int(dead_letter.id))

    async def discard(self, dead_letter: DeadLetter) -> None:
        """Delete the dead letter."""
        await outbox.discard(self._connection, int(dead_letter.id))


class BrokerUnreachable(ServiceError):
    """RabbitMQ can't be reached. The message names the cause and the setting to check."""


@asynccontextmanager
async def open_dead_letters(url: str, topology: Topology) -> AsyncIterator[BrokerDeadLetters]:
    """Open the dead letters of the broker while the block runs. Raises BrokerUnreachable."""
    async with await _connect(url) as connection:
        async with connection.channel() as channel:
            await topology.declare(channel)
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            yield BrokerDeadLetters(channel, topology, connection.user)


async def _connect(url: str) -> BrokerConnection:
    try:
        return await connect(url)
    except (AMQPError, OSError, TimeoutError) as error:
        cause = error or f"no response within {CONNECT_TIMEOUT_S} s"
        raise BrokerUnreachable(
            f"RESULTS_AMQP_URL: can't connect to RabbitMQ ({cause}). Check the URL, and that RabbitMQ is running."
        ) from error


def _parse(queue: str, incoming: AbstractIncomingMessage) -> DeadLetter:
    """Read the headers of the consumers, or of the broker if it dead-lettered the message itself."""
    headers = incoming.headers
    return DeadLetter(
        id=sha256(incoming.body).hexdigest()[:12],
        queue=queue,
        reason=str(headers.get("x-reason") or headers.get(_BROKER_REASON) or "unknown"),
        message=str(headers.get("x-message") or "dead-lettered by the broker"),
        dead_lettered_at=incoming.timestamp.isoformat(timespec="seconds") if incoming.timestamp else None,
        body=incoming.body,
        undecodable=str(headers[UNDECODABLE]) if UNDECODABLE in headers else None,
    )
