"""Sizes and ages of the backlogs in the database, over all organizations."""

from typing import Final

import asyncpg

from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("backlogs")


async def find(connection: Connection, limit: int) -> asyncpg.Record:
    """Return one row with the size and age of each backlog. Each count stops at `limit`."""
    async with connection.transaction(readonly=True):
        await connection.execute(_SQL["prefer_index_scans"])
        row = await connection.fetchrow(_SQL["find"], limit)
    assert row is not None  # noqa: S101 - the statement always returns one row
    return row
