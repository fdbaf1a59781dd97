"""Steps that end the deliveries of disabled webhooks and remove deleted webhooks.

A webhook can have millions of deliveries. One transaction that changes all of them blocks or delays the deliveries to
every other webhook, so each transaction changes at most `STEP` of them.
"""

from typing import Final

from service.domain.deliveries import Endpoint
from service.store import deliveries, webhooks
from service.store.postgres.database import Connection, Pool

STEP: Final = 1_000  # deliveries


async def exhaust_first(connection: Connection, endpoint: Endpoint) -> None:
    """Exhaust the first pending deliveries in the transaction that disables a webhook. The dispatcher ends the others.

    The backlog of most webhooks is smaller than a step, so it ends together with the change.
    """
    await deliveries.exhaust_pending(connection, endpoint, STEP)


async def exhaust_disabled(pool: Pool) -> bool:
    """Exhaust the next pending deliveries of a disabled webhook. Return False if there are none."""
    async with pool.acquire() as connection, connection.transaction():
        endpoint = await webhooks.lock_disabled(connection)
        return endpoint is not None and await deliveries.exhaust_pending(connection, endpoint, STEP) > 0


async def remove_deleted(pool: Pool) -> bool:
    """Delete the next deliveries of a deleted webhook, and then the webhook. Return False if there are none."""
    async with pool.acquire() as connection, connection.transaction():
        endpoint = await webhooks.lock_deleted(connection)
        if endpoint is None:
            return False
        count = await deliveries.delete_some(connection, endpoint, STEP)
        if not await deliveries.has_any(connection, endpoint):
            await webhooks.remove(connection, endpoint)
            return True
        return count > 0
