"""Webhooks for a caller: pages of webhooks and of deliveries, one webhook, and one recovery."""

from typing import Final

from service.contracts.queries import PageQuery
from service.contracts.responses import Recovery, Webhook, WebhookDelivery
from service.contracts.webhooks import DeliveryQuery
from service.domain.cursors import Cursors, ids
from service.domain.ids import is_id
from service.domain.keys import Caller
from service.store import deliveries, webhooks
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage
from service.usecases.lists.pages import ListPage, read_page
from service.usecases.webhooks.manage_webhooks import read_recovery, read_webhook, recovery_not_found, webhook_ref

_WEBHOOKS: Final = ids("whk")
_DELIVERIES: Final = ids("dlv")


async def list_webhooks(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Webhook]:
    """Return webhooks, newest first. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, before: str | None) -> RowPage[Webhook, str]:
        return await webhooks.list_page(connection, caller.org_id, caller.project_id, before, query.limit)

    cursors = Cursors(_WEBHOOKS, "webhooks", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_webhook(pool: Pool, caller: Caller, webhook_id: str) -> Webhook:
    """Return one webhook with the state of its endpoint. Raises NotFound."""
    webhook = webhook_ref(caller, webhook_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_webhook(connection, webhook)


async def list_deliveries(
    pool: Pool, caller: Caller, webhook_id: str, query: DeliveryQuery
) -> ListPage[WebhookDelivery]:
    """Return deliveries of a webhook, newest event first. Raises NotFound, and InvalidRequest for the cursor."""
    webhook = webhook_ref(caller, webhook_id)

    async def read(connection: Connection, before: str | None) -> RowPage[WebhookDelivery, str]:
        await read_webhook(connection, webhook)
        return await deliveries.list_page(connection, caller.org_id, webhook_id, before, query.status, query.limit)

    filters = {"webhook_id": webhook_id, "status": query.status}
    cursors = Cursors(_DELIVERIES, "deliveries", caller.org_id, filters)
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_recovery(pool: Pool, caller: Caller, webhook_id: str, recovery_id: str) -> Recovery:
    """Return one recovery of a webhook. Raises NotFound, also for the webhook."""
    webhook = webhook_ref(caller, webhook_id)
    if not is_id("rec", recovery_id):
        raise recovery_not_found(recovery_id)
    async with as_organization(pool, caller.org_id) as connection:
        await read_webhook(connection, webhook)
        return await read_recovery(connection, webhook, recovery_id)
