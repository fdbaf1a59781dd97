"""Transactions that send notifications after their commit."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from service.database.database import Connection
from service.database.errors import is_conflict, is_lock_timeout, is_outage
from service.database.notifications import to_payload
from service.database.statements import statements
from service.domain.ids import OrgId
from service.retries import with_retries

_SQL: Final = statements("database")

# The organizations to which the notification on each channel applies; None: to any.
_requested: ContextVar[dict[str, set[OrgId | None]]] = ContextVar("requested_notifications")

T = TypeVar("T")
_CONFLICT_DELAYS_S: Final = (0.05, 0.1, 0.15, 0.2)


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


def is_temporary(error: BaseException) -> bool:
    """Return whether the same work can succeed later: after an outage, or after another transaction has ended."""
    return is_outage(error) or is_conflict(error)


def _is_short_conflict(error: BaseException) -> bool:
    return is_conflict(error) and not is_lock_timeout(error)


async def retry_on_conflict(
    work: Callable[[], Awaitable[T]], on_retry: Callable[[Exception, float], object] = lambda _error, _delay_s: None
) -> T:
    """Run a transaction again after a conflict with another one, at most 5 attempts. Raises the last error.

    Raises a lock timeout immediately, because the transaction has waited for the lock already.
    """
    return await with_retries(work, _is_short_conflict, _CONFLICT_DELAYS_S, on_retry=on_retry)
