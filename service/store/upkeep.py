"""What is tidied up in the database as a whole, whichever organization it belongs to."""

from datetime import datetime, timedelta
from typing import Final

from service.store.database import Connection
from service.store.statements import statements

_SQL: Final = statements("upkeep")


async def end_stuck_writers(connection: Connection, after: timedelta) -> int:
    """Ends connections of consumers that were stopped inside a COPY so long ago; returns how many."""
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE NONE")  # only as who we logged in may we end our own kind
        return int(await connection.fetchval(_SQL["end_stuck_writers"], after))


async def delete_receipts(connection: Connection, before: datetime) -> None:
    """Forgets what became of events and reports that came in before this moment."""
    await connection.execute(_SQL["delete_receipts"], int(before.timestamp() * 1000))
