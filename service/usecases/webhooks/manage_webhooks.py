"""Makes, changes and ends webhooks, and asks for deliveries, each in a transaction on the caller's connection."""

from datetime import datetime
from typing import Any, NamedTuple

import orjson

from service.contracts.events import WebhookTestObject
from service.domain.errors import Conflict, NotFound
from service.domain.events import TEST, NewEvent
from service.domain.ids import OrgId, new_id
from service.domain.signatures import new_webhook_secret
from service.store import deliveries, events, webhooks
from service.store.postgres.database import Connection
from service.store.postgres.transactions import notifying_transaction
from service.store.webhooks import WebhookFields


class WebhookRef(NamedTuple):
    """A webhook as a caller names it; with a project, it must be bound to that one."""

    org_id: OrgId
    webhook_id: str
    project_id: str | None = None


class NewWebhook(NamedTuple):
    """A webhook that was just made. The secret is shown to its owner now and can't be had again."""

    webhook_id: str
    secret: str


async def create_webhook(connection: Connection, org_id: OrgId, described: WebhookFields) -> NewWebhook:
    """Registers an endpoint; events from now on go to it."""
    made = NewWebhook(new_id("whk"), new_webhook_secret())
    await webhooks.insert(connection, org_id, made.webhook_id, described, made.secret)
    return made


async def change_webhook(connection: Connection, address: WebhookRef, changes: dict[str, Any]) -> None:
    """Changes some of what is said of a webhook; switched on again, it starts without a history of failures."""
    async with connection.transaction():
        described = (await _lock(connection, address))._replace(**changes)
        await webhooks.update(connection, address.org_id, address.webhook_id, described)
        if not described.enabled:
            await deliveries.exhaust_pending(connection, address.org_id, address.webhook_id)


async def delete_webhook(connection: Connection, address: WebhookRef) -> None:
    """Ends a webhook; its deliveries go with it."""
    if not await webhooks.delete(connection, *address):
        raise no_webhook(address.webhook_id)


async def rotate_secret(connection: Connection, address: WebhookRef) -> str:
    """The new secret, shown this once; the one before signs along for 24 hours."""
    secret = new_webhook_secret()
    async with connection.transaction():
        await _lock(connection, address)
        await webhooks.rotate_secret(connection, address.org_id, address.webhook_id, secret)
    return secret


async def request_test(connection: Connection, address: WebhookRef) -> str:
    """Sends an event of type webhook.test to this webhook alone; returns the delivery's id."""
    async with notifying_transaction(connection):
        described = await _lock(connection, address)
        _need_enabled(described)
        said: WebhookTestObject = {
            "webhook_id": address.webhook_id,
            "message": "a test: deliveries reach this endpoint",
        }
        event_id, data = new_id("evt"), orjson.dumps(said).decode()
        await events.insert_alone(
            connection, NewEvent(address.org_id, event_id, TEST, described.project_id, None, data)
        )
        return await deliveries.insert_test(connection, address.org_id, address.webhook_id, event_id)


async def request_redelivery(connection: Connection, address: WebhookRef, delivery_id: str) -> None:
    """Delivers an event once more, under the id that it had; its schedule begins anew."""
    async with notifying_transaction(connection):
        _need_enabled(await _lock(connection, address))
        if not await deliveries.reopen(connection, address.org_id, address.webhook_id, delivery_id):
            raise no_delivery(delivery_id)
        events.notify_dispatchers()


async def request_recovery(connection: Connection, address: WebhookRef, since: datetime) -> str:
    """Has everything that this webhook missed since then delivered; returns the id of the job."""
    recovery_id = new_id("rec")
    async with notifying_transaction(connection):
        _need_enabled(await _lock(connection, address))
        await webhooks.insert_recovery(connection, address.org_id, address.webhook_id, recovery_id, since)
        events.notify_dispatchers()
    return recovery_id


def no_webhook(webhook_id: str) -> NotFound:
    """The same for an id that is malformed, absent or another organization's."""
    return NotFound(f"there is no webhook {webhook_id[:100]!r}")


def no_delivery(delivery_id: str) -> NotFound:
    """The same for an id that is malformed, absent or another webhook's."""
    return NotFound(f"there is no delivery {delivery_id[:100]!r}")


async def _lock(connection: Connection, address: WebhookRef) -> WebhookFields:
    described = await webhooks.lock(connection, *address)
    if described is None:
        raise no_webhook(address.webhook_id)
    return described


def _need_enabled(described: WebhookFields) -> None:
    if not described.enabled:
        raise Conflict("the webhook is disabled; enable it first")
