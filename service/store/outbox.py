"""Messages that a transaction wants sent, and those that could not be taken. The relay alone reads them."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("outbox")
_CHANNEL: Final = "outbox"
_VERSION: Final = 1


class OutboxMessage(NamedTuple):
    """A message that is due. Its payload is JSON."""

    outbox_id: int
    queue: str
    payload: str
    attempt_count: int


async def put(connection: Connection, queue: str, payload: Mapping[str, Any]) -> None:
    """Wants a message sent, if and only if the caller's transaction commits. The payload is ids, not contents.

    `queue` is the name without the prefix of the installation, which only the relay knows.
    """
    await connection.execute(_SQL["put"], queue, {"v": _VERSION, **payload})


async def lock(connection: Connection) -> bool:
    """Whether this transaction is the one that may relay now."""
    return await connection.fetchval(_SQL["lock"]) is True


async def due(connection: Connection, limit: int, queues: Sequence[str] | None = None) -> list[OutboxMessage]:
    """The messages whose time has come, of these queues or of all, oldest first."""
    return [OutboxMessage(*row) for row in await connection.fetch(_SQL["due"], limit, queues)]


async def delete(connection: Connection, outbox_ids: Sequence[int]) -> None:
    """Forgets messages that have arrived."""
    await connection.execute(_SQL["delete"], outbox_ids)


async def postpone(connection: Connection, outbox_id: int, wait: timedelta) -> None:
    """Counts a failed try; the next comes after the wait."""
    await connection.execute(_SQL["postpone"], outbox_id, wait)


async def move_to_dead_letters(connection: Connection, outbox_id: int, reason: str, message: str) -> None:
    """Moves a message to the dead letters."""
    await connection.execute(_SQL["move_to_dead_letters"], outbox_id, reason, message)


async def dead_letters(connection: Connection, limit: int) -> list[asyncpg.Record]:
    """The oldest dead letters: dead_letter_id, queue, payload, reason, message, created_at."""
    return await connection.fetch(_SQL["dead_letters"], limit)


async def replay(connection: Connection, dead_letter_id: int) -> None:
    """Puts a dead letter back into the queue that it came from."""
    await connection.execute(_SQL["replay"], dead_letter_id)


async def discard(connection: Connection, dead_letter_id: int) -> None:
    """Deletes a dead letter for good."""
    await connection.execute(_SQL["discard"], dead_letter_id)


@asynccontextmanager
async def listening(connection: Connection, wake: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `wake` whenever a committed transaction has put something, while the block runs."""

    def notified(*_: object) -> None:
        wake()

    await connection.add_listener(_CHANNEL, notified)
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.remove_listener(_CHANNEL, notified)
