"""Maintenance of the database across all organizations."""

from datetime import datetime, timedelta
from typing import Final

from service.domain.ids import first_id
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("upkeep")


async def read_clock(connection: Connection) -> datetime:
    """Return the current time of the database server. In a transaction, this is also the current time."""
    time: datetime = await connection.fetchval(_SQL["read_clock"])
    return time


async def terminate_stuck_writers(connection: Connection, copying: timedelta, prepared: timedelta) -> int:
    """Terminate connections of consumers that have been suspended in a transaction; return their number.

    `copying` is the least time in a COPY, and `prepared` the least time before the execution of a prepared statement.
    """
    async with connection.transaction(readonly=True):  # on Citus, the login role can't mark the commit of a write
        await connection.execute("SET LOCAL ROLE NONE")  # only the login role can terminate its own connections
        return int(await connection.fetchval(_SQL["terminate_stuck_writers"], copying, prepared))


async def delete_receipts(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` receipts that were received before this time; return their number."""
    oldest_retained = first_id("rcp", int(before.timestamp() * 1000))
    return int(await connection.fetchval(_SQL["delete_receipts"], oldest_retained, before, limit))


async def find_position(connection: Connection, area: str) -> str:
    """Return the last file of an area of the storage that was compared with the rows, or an empty string."""
    return await connection.fetchval(_SQL["find_position"], area) or ""


async def set_position(connection: Connection, area: str, after_path: str) -> None:
    """Store the position. Of several processes that compare files of an area, the last one decides."""
    await connection.execute(_SQL["set_position"], area, after_path)
