"""What is tidied up in the database as a whole, whichever organization it belongs to."""

from datetime import datetime, timedelta
from typing import Final

from service.domain.ids import first_id
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("upkeep")


async def terminate_stuck_writers(connection: Connection, after: timedelta) -> int:
    """Ends connections of consumers that were stopped inside a COPY so long ago; returns how many."""
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE NONE")  # only as who we logged in may we end our own kind
        return int(await connection.fetchval(_SQL["terminate_stuck_writers"], after))


async def delete_receipts(connection: Connection, before: datetime, limit: int) -> int:
    """Forgets what became of at most so many events and reports that came in before this moment; returns how many."""
    oldest_kept = first_id("rcp", int(before.timestamp() * 1000))
    return int(await connection.fetchval(_SQL["delete_receipts"], oldest_kept, before, limit))
