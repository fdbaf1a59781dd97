"""Numbering of committed events, by one process at a time, so that no reader skips an event that commits late."""

from service.store import events
from service.store.postgres.database import Pool
from service.store.postgres.transactions import notifying_transaction


async def number_events(pool: Pool) -> int:
    """Number all committed events, and return how many were numbered. Any number of processes can call it."""
    numbered = 0
    async with pool.acquire() as connection:
        while True:
            async with notifying_transaction(connection):
                count = await events.number(connection)
            if not count:
                return numbered
            numbered += count
