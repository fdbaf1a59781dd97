"""Gives committed events their places in the stream, one process at a time, so that no reader skips a late commit."""

from service.store import events
from service.store.postgres.database import Pool
from service.store.postgres.transactions import notifying_transaction


async def number_events(pool: Pool) -> int:
    """Numbers all events that are committed by now; returns how many. Safe to call from any number of processes."""
    numbered = 0
    async with pool.acquire() as connection:
        while True:
            async with notifying_transaction(connection):
                count = await events.number(connection)
            if not count:
                return numbered
            numbered += count
