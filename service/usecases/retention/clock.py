"""The time that decides what is expired."""

from datetime import UTC, datetime, timedelta
from typing import Final

from service.domain.errors import Unavailable
from service.store import upkeep
from service.store.postgres.database import Connection, Pool

_MAX_DIFFERENCE: Final = timedelta(minutes=5)


class ClocksDiffer(Unavailable):
    """The clocks of the database and of this process differ, so it's unknown which rows are expired."""


async def verified_now(pool: Pool) -> datetime:
    """Return the time of the database, as `read_verified_clock` does, on a connection of the pool."""
    async with pool.acquire() as connection:
        return await read_verified_clock(connection)


async def read_verified_clock(connection: Connection) -> datetime:
    """Return the time of the database. Raises ClocksDiffer if this process has a different time.

    A wrong clock would delete data within its retention. Two machines rarely have the same wrong time.
    """
    database, process = await upkeep.read_clock(connection), datetime.now(UTC)
    if abs(database - process) > _MAX_DIFFERENCE:
        raise ClocksDiffer(
            f"the clock of the database ({database:%Y-%m-%d %H:%M:%S} UTC) and the clock of this process"
            f" ({process:%Y-%m-%d %H:%M:%S} UTC) differ by more than {_MAX_DIFFERENCE}. No data is deleted."
            " Correct the wrong clock."
        )
    return database
