"""Transactions that send notifications after their commit."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from service.store.postgres.database import Connection, is_outage
from service.store.postgres.statements import statements

_SQL: Final = statements("notifications")

_requested: ContextVar[set[str]] = ContextVar("requested_notifications")


@asynccontextmanager
async def notifying_transaction(connection: Connection, *, one_snapshot: bool = False) -> AsyncIterator[None]:
    """Run a transaction, then send one notification for each channel that was requested in it.

    With `one_snapshot`, all statements read the rows of one point in time. A concurrent change of a row that the
    transaction writes is then a conflict.

    A transaction that contains a NOTIFY locks the complete database while it commits, so that commits would queue.
    Inside another notifying transaction, this is a savepoint, and the outer transaction sends the notifications.
    """
    if _requested.get(None) is not None:
        async with connection.transaction():
            yield
        return
    channels: set[str] = set()
    token = _requested.set(channels)
    try:
        async with connection.transaction(isolation="repeatable_read" if one_snapshot else None):
            yield
    finally:
        _requested.reset(token)
    await _notify(connection, channels)


@asynccontextmanager
async def reading_snapshot(connection: Connection) -> AsyncIterator[None]:
    """Let all statements in the block read the rows of one point in time. They can't write."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


def notify_after_commit(channel: str) -> None:
    """Request a notification. Raises LookupError outside of a notifying transaction."""
    _requested.get().add(channel)


async def _notify(connection: Connection, channels: set[str]) -> None:
    """Send the notifications. Ignore an outage: the change is committed, and the listeners poll as well."""
    try:
        for channel in sorted(channels):
            await connection.execute(_SQL["notify"], channel)
    except Exception as error:
        if not is_outage(error):
            raise


async def limit_lock_wait(connection: Connection, seconds: float) -> None:
    """Let each statement of the current transaction wait at most this long for a lock."""
    await connection.execute(f"SET LOCAL lock_timeout = '{round(seconds * 1000)}ms'")  # also reaches other servers
