"""Transactions that send notifications after their commit."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final

from service.domain.ids import OrgId
from service.store.postgres.database import Connection, is_outage
from service.store.postgres.notifications import to_payload
from service.store.postgres.statements import statements

_SQL: Final = statements("notifications")

# The organizations to which the notification on each channel applies; None: to any.
_requested: ContextVar[dict[str, set[OrgId | None]]] = ContextVar("requested_notifications")


@asynccontextmanager
async def notifying_transaction(connection: Connection, *, one_snapshot: bool = False) -> AsyncIterator[None]:
    """Run a transaction, then send one notification on each channel that was requested in it.

    With `one_snapshot`, all statements read the rows of one point in time. A concurrent change of a row that the
    transaction writes is then a conflict.

    A transaction that contains a NOTIFY locks the complete database while it commits, so that commits would queue.
    Inside another notifying transaction, this is a savepoint, and the outer transaction sends the notifications.
    """
    if _requested.get(None) is not None:
        async with connection.transaction():
            yield
        return
    channels: dict[str, set[OrgId | None]] = defaultdict(set)
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


def notify_after_commit(channel: str, org_ids: Collection[OrgId] = ()) -> None:
    """Request a notification that applies to these organizations, or to any organization if none is given.

    Raises LookupError outside of a notifying transaction.
    """
    _requested.get()[channel].update(org_ids or [None])


async def _notify(connection: Connection, channels: Mapping[str, set[OrgId | None]]) -> None:
    """Send the notifications. Ignore an outage: the change is committed, and the listeners poll as well."""
    try:
        for channel, org_ids in channels.items():
            await connection.execute(_SQL["notify"], channel, to_payload(org_ids))
    except Exception as error:
        if not is_outage(error):
            raise


async def limit_lock_wait(connection: Connection, seconds: float) -> None:
    """Let each statement of the current transaction wait at most this long for a lock."""
    await connection.execute(lock_wait(seconds))


def lock_wait(seconds: float) -> str:
    """Return the command of `limit_lock_wait`."""
    return f"SET LOCAL lock_timeout = '{round(seconds * 1000)}ms'"  # also reaches other servers
