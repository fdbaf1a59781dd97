"""Tidies the database up; each function is one chore, safe to do at any time and by several processes."""

from datetime import UTC, datetime, timedelta
from typing import Final

from service.log import log
from service.store import idempotency, upkeep
from service.store.database import Pool

_STUCK_AFTER: Final = timedelta(seconds=60)
_RECEIPTS_KEPT: Final = timedelta(days=90)


async def end_stuck_writers(pool: Pool) -> None:
    """Ends connections of consumers that stand still inside a COPY and keep everyone else waiting."""
    async with pool.acquire() as connection:
        ended = await upkeep.end_stuck_writers(connection, _STUCK_AFTER)
    if ended:
        log.warning("stuck_writers_ended", connections=ended)


async def delete_old_receipts(pool: Pool) -> None:
    """Forgets receipts that nobody will ask for any more."""
    async with pool.acquire() as connection:
        await upkeep.delete_receipts(connection, datetime.now(UTC) - _RECEIPTS_KEPT)


async def delete_old_answers(pool: Pool) -> None:
    """Forgets answers that an Idempotency-Key no longer repeats."""
    async with pool.acquire() as connection:
        await idempotency.prune(connection)
