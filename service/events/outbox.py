"""The outbox: messages that a transaction sends, and with the embedded queue their dead letters."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from service.database.database import Connection
from service.database.statements import statements
from service.database.transactions import notify_after_commit
from service.tracing import spans

MESSAGES_WRITTEN: Final = "outbox"  # the channel that is notified after a transaction with messages has committed

_SQL: Final = statements("events")
_VERSION: Final = 1


class OutboxMessage(NamedTuple):
    """A message that is due. Its payload is JSON."""

    outbox_id: int
    queue: str
    payload: str
    attempt_count: int  # failed attempts
    trace_context: Mapping[str, str] | None


async def put(connection: Connection, queue: str, payload: Mapping[str, Any]) -> None:
    """Add a message, which is sent if and only if the notifying transaction of the caller commits.

    `queue` is the name without the prefix of the installation. `payload` contains IDs, not content. The current trace
    context is added, if tracing is on.
    """
    context = spans.current_context()
    traced = {"trace_context": context} if context else {}
    await connection.execute(_SQL["put"], queue, {"v": _VERSION, **payload, **traced})
    notify_after_commit(MESSAGES_WRITTEN)


async def lock(connection: Connection) -> bool:
    """Try to lock the outbox until the transaction ends. Return whether this transaction has the lock."""
    return await connection.fetchval(_SQL["lock"]) is True


async def find_due(connection: Connection, limit: int, queues: Sequence[str] | None = None) -> list[OutboxMessage]:
    """Return at most `limit` due messages of these queues (default: all), oldest first."""
    return [OutboxMessage(*row) for row in await connection.fetch(_SQL["find_due"], limit, queues)]


async def delete(connection: Connection, outbox_ids: Sequence[int]) -> None:
    """Delete messages that were delivered."""
    await connection.execute(_SQL["delete"], outbox_ids)


async def postpone(connection: Connection, outbox_id: int, delay: timedelta, *, failed: bool = False) -> None:
    """Make the message due again after the delay. With `failed`, count a failed attempt."""
    await connection.execute(_SQL["postpone"], outbox_id, delay, int(failed))


async def move_to_dead_letters(connection: Connection, outbox_id: int, reason: str, message: str) -> None:
    """Move a message to the dead letters."""
    await connection.execute(_SQL["move_to_dead_letters"], outbox_id, reason, message)


async def find_dead_letters(connection: Connection, limit: int) -> list[asyncpg.Record]:
    """Return at most `limit` dead letters, oldest first.

    Columns: dead_letter_id, queue, payload, reason, message, created_at.
    """
    return await connection.fetch(_SQL["find_dead_letters"], limit)


async def replay(connection: Connection, dead_letter_id: int) -> None:
    """Move a dead letter back to the outbox, for its original queue."""
    await connection.execute(_SQL["replay"], dead_letter_id)


async def discard(connection: Connection, dead_letter_id: int) -> None:
    """Delete a dead letter."""
    await connection.execute(_SQL["discard"], dead_letter_id)
