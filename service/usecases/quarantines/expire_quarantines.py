"""The events of expired quarantines. Several processes can publish them concurrently."""

from typing import Final

from service.domain.events import NewEvent
from service.domain.ids import new_id
from service.store import events, quarantines
from service.store.postgres.database import Pool
from service.store.postgres.transactions import notifying_transaction

_STEP: Final = 500  # quarantines per transaction


async def publish_expired(pool: Pool) -> int:
    """Insert the event `quarantine.expired` for each quarantine that expired, once; return their number."""
    published = 0
    while True:
        async with pool.acquire() as connection, notifying_transaction(connection):
            expired = await quarantines.mark_expired(connection, _STEP)
            if not expired:
                return published
            await events.insert(
                connection,
                [
                    NewEvent(org_id, new_id("evt"), "quarantine.expired", project_id, None, data)
                    for org_id, project_id, data in expired
                ],
            )
        published += len(expired)
