"""How much waits, in the database as a whole and without a word about whose it is."""

from typing import Final

import asyncpg

from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("backlogs")


async def find(connection: Connection, limit: int) -> asyncpg.Record:
    """One row: what waits and for how long. At most so many of each kind are looked at, and so counted."""
    async with connection.transaction(readonly=True):
        await connection.execute(_SQL["walk_indexes"])
        row = await connection.fetchrow(_SQL["find"], limit)
    assert row is not None  # noqa: S101 - it aggregates
    return row
