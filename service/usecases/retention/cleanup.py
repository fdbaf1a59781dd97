"""Tidies the database up; each function is one chore, safe to do at any time and by several processes."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from service.domain.events import RETENTION_DAYS
from service.log import log
from service.store import events, idempotency, upkeep
from service.store.postgres.database import Connection, Pool

_STUCK_AFTER: Final = timedelta(seconds=60)
RECEIPTS_KEPT: Final = timedelta(days=90)
_DAY_MS: Final = 24 * 3600 * 1000
_STEP: Final = 5_000  # rows that one transaction deletes: well within what one statement may take


async def terminate_stuck_writers(pool: Pool) -> None:
    """Ends connections of consumers that stand still inside a COPY and keep everyone else waiting."""
    async with pool.acquire() as connection:
        ended = await upkeep.terminate_stuck_writers(connection, _STUCK_AFTER)
    if ended:
        log.warning("stuck_writers_ended", connections=ended)


async def delete_expired_receipts(pool: Pool) -> int:
    """Forgets receipts that nobody will ask for any more; returns how many."""
    before = datetime.now(UTC) - RECEIPTS_KEPT
    return await _in_steps(pool, lambda connection, limit: upkeep.delete_receipts(connection, before, limit))


async def delete_expired_responses(pool: Pool) -> int:
    """Forgets answers that an Idempotency-Key no longer repeats; returns how many."""
    return await _in_steps(pool, idempotency.prune)


async def delete_expired_events(pool: Pool) -> int:
    """Forgets events when their time is over, their deliveries first; returns how many."""
    before_ms = time.time_ns() // 1_000_000 - RETENTION_DAYS * _DAY_MS
    await _in_steps(pool, lambda connection, limit: events.prune_deliveries(connection, before_ms, limit))
    return await _in_steps(pool, lambda connection, limit: events.prune(connection, before_ms, limit))


async def _in_steps(pool: Pool, delete: Callable[[Connection, int], Awaitable[int]]) -> int:
    """Deletes so many at a time, each time in a transaction of its own, until there is nothing left; returns how many.

    What it has deleted stays deleted wherever it is cut off, so no backlog is too long for it.
    """
    deleted = 0
    while True:
        async with pool.acquire() as connection:
            count = await delete(connection, _STEP)
        if not count:
            return deleted
        deleted += count
