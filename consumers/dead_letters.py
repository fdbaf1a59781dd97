"""The dead letters of a queue, for the person who has to decide: list, show, replay, discard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from consumers.topology import RUN_COMPLETED, Topology

_OURS: Final = ("x-reason", "x-message", "x-queue", "x-death", "x-delivery-count", "x-acquired-count")
_CONNECT_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. Its id is the beginning of the SHA-256 of its body, so it survives a re-queue."""

    id: str
    reason: str
    message: str
    buried_at: str | None
    size: int
    incoming: AbstractIncomingMessage

    @classmethod
    def of(cls, incoming: AbstractIncomingMessage) -> "DeadLetter":
        """Reads our headers, and the broker's where it buried the message itself."""
        headers = incoming.headers
        return cls(
            id=sha256(incoming.body).hexdigest()[:12],
            reason=str(headers.get("x-reason") or headers.get("x-last-death-reason") or "unknown"),
            message=str(headers.get("x-message") or "moved here by the broker"),
            buried_at=incoming.timestamp.isoformat(timespec="seconds") if incoming.timestamp else None,
            size=len(incoming.body),
            incoming=incoming,
        )


class Graveyard:
    """The dead letters as they are now, held until the block ends; what is not taken out goes back unchanged."""

    def __init__(self, channel: AbstractChannel, topology: Topology) -> None:
        self._channel = channel
        self._topology = topology

    async def letters(self, limit: int) -> list[DeadLetter]:
        """The oldest dead letters, at most so many."""
        queue = await self._channel.get_queue(self._topology.dead_queue(self._topology.runs_queue))
        found: list[DeadLetter] = []
        while len(found) < limit:
            incoming = await queue.get(fail=False)
            if incoming is None:
                break
            found.append(DeadLetter.of(incoming))
        return found

    async def replay(self, letter: DeadLetter) -> None:
        """Publishes the original again, confirmed, and only then takes the letter out."""
        exchange = await self._channel.get_exchange(self._topology.runs_exchange)
        await exchange.publish(_original(letter.incoming), routing_key=RUN_COMPLETED, mandatory=True)
        await letter.incoming.ack()

    async def discard(self, letter: DeadLetter) -> None:
        """Takes the letter out for good."""
        await letter.incoming.ack()


@asynccontextmanager
async def open_graveyard(url: str, topology: Topology) -> AsyncIterator[Graveyard]:
    """Holds the dead letters while the block runs."""
    async with await aio_pika.connect(url, timeout=_CONNECT_TIMEOUT_S) as connection:
        async with connection.channel() as channel:
            await topology.declare(channel)
        async with connection.channel(publisher_confirms=True, on_return_raises=True) as channel:
            yield Graveyard(channel, topology)


def _original(incoming: AbstractIncomingMessage) -> Message:
    headers = {name: value for name, value in incoming.headers.items() if not name.startswith(_OURS)}
    return Message(
        incoming.body,
        headers=headers,
        content_type=incoming.content_type,
        content_encoding=incoming.content_encoding,
        delivery_mode=DeliveryMode.PERSISTENT,
    )
