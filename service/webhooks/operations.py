"""Webhooks for a caller: lists and objects, changes, and requests for deliveries.

Each change is a transaction on the caller's connection.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.encryption import SecretCipher
from service.database.pages import ListPage, RowPage, read_page, read_page_by_id
from service.database.transactions import notifying_transaction
from service.domain.addresses import AllowedAddresses
from service.domain.cursors import Cursors, ids
from service.domain.errors import Conflict, InvalidRequest
from service.domain.ids import OrgId, new_id
from service.domain.object_kinds import ObjectKind
from service.events import store as events_store
from service.events.contract import WebhookTestObject
from service.events.model import EVENTS, FILTERED_SUBJECTS, TEST, NewEvent
from service.identity.keys.model import Caller
from service.webhooks import store
from service.webhooks.contract import (
    DeliveryQuery,
    Recovery,
    Webhook,
    WebhookDelivery,
    WebhookIn,
    WebhookPatch,
    checked_url,
)
from service.webhooks.deliver_events import exhaust_first
from service.webhooks.model import new_webhook_secret
from service.webhooks.store import WebhookFields

_WEBHOOK: Final = ObjectKind("webhook", "whk")
_DELIVERY: Final = ObjectKind("delivery", "dlv")
_RECOVERY: Final = ObjectKind("recovery", "rec")


class WebhookRef(NamedTuple):
    """The identity of a webhook. With a project, the webhook must be bound to that project."""

    org_id: OrgId
    webhook_id: str
    project_id: str | None = None


class NewWebhook(NamedTuple):
    """A webhook that was just created, with its secret, which is shown only once."""

    webhook_id: str
    secret: str


def webhook_ref(caller: Caller, webhook_id: str) -> WebhookRef:
    """Return the reference to a webhook that the caller can see. Raises NotFound if the ID is malformed."""
    return WebhookRef(caller.org_id, _WEBHOOK.check_id(webhook_id), caller.project_id)


async def list_webhooks(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Webhook]:
    """Return webhooks, newest first. Raises InvalidRequest for a cursor of another list."""
    return await read_page_by_id(pool, caller, _WEBHOOK, query, store.list_webhooks)


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
        return await store.list_deliveries(connection, caller.org_id, webhook_id, before, query.status, query.limit)

    filters = {"webhook_id": webhook_id, "status": query.status}
    cursors = Cursors(ids("dlv"), "deliveries", caller.org_id, filters)
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_recovery(pool: Pool, caller: Caller, webhook_id: str, recovery_id: str) -> Recovery:
    """Return one recovery of a webhook. Raises NotFound, also for the webhook."""
    webhook = webhook_ref(caller, webhook_id)
    _RECOVERY.check_id(recovery_id)
    async with as_organization(pool, caller.org_id) as connection:
        await read_webhook(connection, webhook)
        return await read_recovery(connection, webhook, recovery_id)


def read_request(caller: Caller, body: WebhookIn, allowed: AllowedAddresses) -> WebhookFields:
    """Return the fields of a webhook that a caller requests. Its project is the project of the key, if it has one.

    Raises InvalidRequest for the URL and the filters, and Forbidden for another project than the project of the key.
    """
    url, filters = checked_url(body.url, allowed), _read_filters(body)
    project_id = caller.choose_project(filters.pop("project_id", None))
    fields = WebhookFields(url, body.description, list(body.events), project_id, body.enabled, body.format)
    return _check_filters(fields._replace(**filters))


def read_changes(caller: Caller, body: WebhookPatch, allowed: AllowedAddresses) -> dict[str, Any]:
    """Return the fields of a webhook that a caller changes. Raises errors like `read_request`."""
    changes = body.changes() | _read_filters(body)
    changes.pop("filters", None)
    if "url" in changes:
        checked_url(changes["url"], allowed)
    if "project_id" in changes:
        changes["project_id"] = caller.choose_project(changes["project_id"])
    return changes


def _read_filters(body: WebhookIn | WebhookPatch) -> dict[str, Any]:
    """Return the filters that a request contains. Raises InvalidRequest for two different projects."""
    filters = body.filters.model_dump(exclude_unset=True)
    if "project_id" in body.model_fields_set and filters.setdefault("project_id", body.project_id) != body.project_id:
        raise InvalidRequest("filters.project_id: must equal project_id; send only one of them", "filters.project_id")
    return filters


def _check_filters(fields: WebhookFields) -> WebhookFields:
    """Return the fields. Raises InvalidRequest for an event type that can't match one of the filters."""
    for name, subjects in FILTERED_SUBJECTS.items():
        types = [type_ for type_, event in EVENTS.items() if event.subject in subjects]
        others = [type_ for type_ in fields.events if type_ not in types]
        if others and getattr(fields, name) is not None:
            text = f"events of type {others[0]} have no {name}; it can filter only {', '.join(types)}"
            raise InvalidRequest(f"filters.{name}: {text}", f"filters.{name}")
    return fields


async def create_webhook(
    connection: Connection,
    cipher: SecretCipher,
    org_id: OrgId,
    fields: WebhookFields,
    limit: int,
    secret: str | None = None,
) -> NewWebhook:
    """Create a webhook with this secret, or with a new one. It receives only events that are inserted later.

    Requires a transaction. Raises Conflict if the organization has `limit` webhooks: each one adds work to the
    transaction that stores an event.
    """
    if await store.count_for_insert(connection, org_id) >= limit:
        raise Conflict(f"the organization has {limit} webhooks, which is the maximum; delete one first")
    webhook = NewWebhook(new_id("whk"), secret or new_webhook_secret())
    await store.insert(connection, org_id, webhook.webhook_id, fields, cipher.encrypt(webhook.secret))
    return webhook


async def change_webhook(connection: Connection, webhook: WebhookRef, changes: dict[str, Any]) -> Webhook:
    """Change some fields of a webhook. Enabling it resets its failures.

    Disabling it ends its pending deliveries: the first ones immediately, and the others in steps of the dispatcher.
    Enabling it again before the last step delivers the others.
    """
    async with connection.transaction():
        fields = _check_filters((await _lock(connection, webhook))._replace(**changes))
        await store.update(connection, webhook.org_id, webhook.webhook_id, fields)
        if not fields.enabled:
            await exhaust_first(connection, (webhook.org_id, webhook.webhook_id))
    return await read_webhook(connection, webhook)


async def delete_webhook(connection: Connection, webhook: WebhookRef) -> None:
    """Delete a webhook. The dispatcher then removes its deliveries in steps."""
    if not await store.delete(connection, *webhook):
        raise _WEBHOOK.not_found(webhook.webhook_id)


async def rotate_secret(connection: Connection, cipher: SecretCipher, webhook: WebhookRef) -> str:
    """Replace the secret of a webhook, and return the new one. The previous secret also signs for 24 hours."""
    secret = new_webhook_secret()
    async with connection.transaction():
        await _lock(connection, webhook)
        await store.rotate_secret(connection, webhook.org_id, webhook.webhook_id, cipher.encrypt(secret))
    return secret


async def request_test(connection: Connection, webhook: WebhookRef) -> WebhookDelivery:
    """Insert an event of type `webhook.test` that only this webhook receives, and return its delivery."""
    async with notifying_transaction(connection):
        fields = await _lock(connection, webhook)
        _require_enabled(fields)
        payload: WebhookTestObject = {
            "webhook_id": webhook.webhook_id,
            "message": "This is a test. Deliveries reach this endpoint.",
        }
        event_id, data = new_id("evt"), orjson.dumps(payload).decode()
        event = NewEvent(webhook.org_id, event_id, TEST, fields.project_id, None, data)
        await events_store.insert_without_deliveries(connection, event)
        delivery_id = await store.insert_test(connection, webhook.org_id, webhook.webhook_id, event_id)
        return await _read_delivery(connection, webhook, delivery_id)


def check_delivery_id(delivery_id: str) -> None:
    """Raise NotFound if the ID of a delivery is malformed."""
    _DELIVERY.check_id(delivery_id)


async def request_redelivery(connection: Connection, webhook: WebhookRef, delivery_id: str) -> WebhookDelivery:
    """Make a delivery due now, with the same event ID and a new retry schedule. Raises NotFound."""
    async with notifying_transaction(connection):
        _require_enabled(await _lock(connection, webhook))
        if not await store.reopen(connection, webhook.org_id, webhook.webhook_id, delivery_id):
            raise _DELIVERY.not_found(delivery_id)
        events_store.notify_dispatchers(webhook.org_id)
        return await _read_delivery(connection, webhook, delivery_id)


async def request_recovery(connection: Connection, webhook: WebhookRef, since: datetime) -> Recovery:
    """Request the delivery of all events since a time that the webhook missed."""
    recovery_id = new_id("rec")
    async with notifying_transaction(connection):
        _require_enabled(await _lock(connection, webhook))
        await store.insert_recovery(connection, webhook.org_id, webhook.webhook_id, recovery_id, since)
        events_store.notify_dispatchers(webhook.org_id)
        return await read_recovery(connection, webhook, recovery_id)


async def read_webhook(connection: Connection, webhook: WebhookRef) -> Webhook:
    """Return one webhook. Raises NotFound."""
    return _WEBHOOK.require(await store.find_webhook(connection, *webhook), webhook.webhook_id)


async def read_recovery(connection: Connection, webhook: WebhookRef, recovery_id: str) -> Recovery:
    """Return one recovery of a webhook. Raises NotFound."""
    found = await store.find_recovery(connection, webhook.org_id, webhook.webhook_id, recovery_id)
    return _RECOVERY.require(found, recovery_id)


async def _read_delivery(connection: Connection, webhook: WebhookRef, delivery_id: str) -> WebhookDelivery:
    found = await store.find_delivery(connection, webhook.org_id, webhook.webhook_id, delivery_id)
    return _DELIVERY.require(found, delivery_id)


async def _lock(connection: Connection, webhook: WebhookRef) -> WebhookFields:
    return _WEBHOOK.require(await store.lock(connection, *webhook), webhook.webhook_id)


def _require_enabled(fields: WebhookFields) -> None:
    if not fields.enabled:
        raise Conflict("the webhook is disabled; enable it first")
