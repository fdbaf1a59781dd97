"""Forgets events, and their deliveries, when their time is over."""

import time
from typing import Final

from service.domain.events import KEPT_DAYS
from service.store import events
from service.store.database import Pool

_DAY_MS: Final = 24 * 3600 * 1000


async def prune_events(pool: Pool) -> int:
    """Deletes events older than 30 days, a few at a time; returns how many. Safe to call from several processes."""
    before_ms = time.time_ns() // 1_000_000 - KEPT_DAYS * _DAY_MS
    deleted = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            count = await events.prune(connection, before_ms)
        if not count:
            return deleted
        deleted += count
