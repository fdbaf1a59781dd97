"""The number of consumer processes that run."""

import asyncio
from collections.abc import Mapping
from typing import Final

from service.domain.errors import Unavailable
from service.store import heartbeats
from service.store.postgres.database import OutagesAsUnavailable, Pool

_TIMEOUT_S: Final = 3


async def count_live_workers(pool: Pool) -> Mapping[str, int] | None:
    """Return the number of workers of each role, or None if the database doesn't respond."""
    try:
        async with asyncio.timeout(_TIMEOUT_S), OutagesAsUnavailable(), pool.acquire() as connection:
            return await heartbeats.count_live_workers(connection)
    except (Unavailable, TimeoutError):
        return None
