"""Periodic cleanup of the database. Each function is idempotent, and several processes can call it concurrently."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from service.domain.events import RETENTION_DAYS
from service.log import log
from service.store import events, idempotency, sessions, upkeep
from service.store.postgres.database import Connection, Pool
from service.usecases.retention.clock import verified_now

RECEIPT_RETENTION: Final = timedelta(days=90)

_STUCK_AFTER: Final = timedelta(seconds=60)
_DAY_MS: Final = 24 * 3600 * 1000
_MAX_ROWS: Final = 5_000  # per transaction, far below the statement timeout


async def terminate_stuck_writers(pool: Pool) -> None:
    """Terminate connections of consumers that are suspended in a COPY and block other consumers."""
    async with pool.acquire() as connection:
        terminated = await upkeep.terminate_stuck_writers(connection, _STUCK_AFTER)
    if terminated:
        log.warning("stuck_writers_terminated", connections=terminated)


async def delete_expired_receipts(pool: Pool) -> int:
    """Delete receipts after their retention; return their number."""
    before = await verified_now(pool) - RECEIPT_RETENTION
    return await _delete_all(pool, lambda connection, limit: upkeep.delete_receipts(connection, before, limit))


async def delete_expired_responses(pool: Pool) -> int:
    """Delete expired responses to requests with an Idempotency-Key; return their number."""
    return await _delete_all(pool, idempotency.delete_expired)


async def delete_expired_sessions(pool: Pool) -> int:
    """Delete expired sessions of the console; return their number."""
    return await _delete_all(pool, sessions.delete_expired)


async def delete_expired_events(pool: Pool) -> int:
    """Delete events after their retention, and before them their deliveries; return the number of events."""
    before_ms = int((await verified_now(pool)).timestamp() * 1000) - RETENTION_DAYS * _DAY_MS
    await _delete_all(pool, lambda connection, limit: events.prune_deliveries(connection, before_ms, limit))
    return await _delete_all(pool, lambda connection, limit: events.prune(connection, before_ms, limit))


async def _delete_all(pool: Pool, delete: Callable[[Connection, int], Awaitable[int]]) -> int:
    """Call `delete`, each time in its own transaction, until it deletes no row; return the total number of rows.

    An interruption keeps the previous deletions, so that cleanup makes progress with a backlog of any size.
    """
    deleted = 0
    while True:
        async with pool.acquire() as connection:
            count = await delete(connection, _MAX_ROWS)
        if not count:
            return deleted
        deleted += count
