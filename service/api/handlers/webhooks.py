"""HTTP handlers of webhooks, their deliveries, and recoveries."""

from contextlib import AbstractAsyncContextManager
from typing import Final

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply, reply_json, reply_page
from service.api.server.resources import RESOURCES
from service.contracts.queries import PageQuery
from service.contracts.webhooks import DeliveryQuery, RecoverIn, WebhookIn, WebhookPatch, checked_url
from service.domain.cursors import Cursors, ids
from service.domain.errors import Forbidden, NotFound
from service.domain.ids import is_id
from service.domain.keys import Caller
from service.settings import Settings
from service.store import deliveries, webhooks
from service.store.postgres.database import Connection, as_organization
from service.store.webhooks import WebhookFields
from service.usecases.lists.pages import ListPage
from service.usecases.webhooks import manage_webhooks as usecase
from service.usecases.webhooks.manage_webhooks import WebhookRef, delivery_not_found, webhook_not_found

_WEBHOOKS: Final = ids("whk")
_DELIVERIES: Final = ids("dlv")


async def create_webhook(request: web.Request) -> web.Response:
    """Create a webhook. Only this response contains its secret, unless the client chose the secret."""
    body, caller = await parse_body(request, WebhookIn), get_caller(request)
    limit, cipher = _settings(request).webhooks_per_organization, request.app[RESOURCES].secret_cipher
    url = _checked(request, body.url)
    fields = WebhookFields(url, body.description, list(body.events), _project(caller, body.project_id), body.enabled)

    async def create(connection: Connection) -> web.Response:
        webhook = await usecase.create_webhook(connection, cipher, caller.org_id, fields, limit, body.secret)
        found = await _webhook_json(connection, WebhookRef(caller.org_id, webhook.webhook_id))
        location = {"Location": f"/v1/webhooks/{webhook.webhook_id}"}
        secret = webhook.secret if body.secret is None else None
        return reply({**orjson.loads(found), "secret": secret}, 201, location)

    return await mutate(request, create, shown_once="secret")


async def list_webhooks(request: web.Request) -> web.Response:
    """List webhooks, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    cursors = Cursors(_WEBHOOKS, "webhooks", caller.org_id, {"project_id": caller.project_id})
    before = cursors.read(query.starting_after)
    async with _connection(request) as connection:
        page = await webhooks.list_page(connection, caller.org_id, caller.project_id, before, query.limit)
    return reply_page(ListPage(page.rows, cursors.write(page.next)))


async def get_webhook(request: web.Request) -> web.Response:
    """Return one webhook with the state of its endpoint."""
    webhook = _webhook_ref(request)
    async with _connection(request) as connection:
        return reply_json(await _webhook_json(connection, webhook))


async def update_webhook(request: web.Request) -> web.Response:
    """Change some fields of a webhook. Absent fields keep their values."""
    body, webhook = await parse_body(request, WebhookPatch), _webhook_ref(request)
    changes = body.changes()
    if "url" in changes:
        _checked(request, changes["url"])
    if "project_id" in changes:
        changes["project_id"] = _project(get_caller(request), changes["project_id"])

    async def change(connection: Connection) -> web.Response:
        await usecase.change_webhook(connection, webhook, changes)
        return reply_json(await _webhook_json(connection, webhook))

    return await mutate(request, change)


async def delete_webhook(request: web.Request) -> web.Response:
    """Delete a webhook and its deliveries."""
    webhook = _webhook_ref(request)

    async def delete(connection: Connection) -> web.Response:
        await usecase.delete_webhook(connection, webhook)
        return web.Response(status=204)

    return await mutate(request, delete)


async def test_webhook(request: web.Request) -> web.Response:
    """Send an event of type `webhook.test` to this webhook only."""
    webhook = _webhook_ref(request)

    async def test(connection: Connection) -> web.Response:
        return await _accepted_delivery(connection, webhook, await usecase.request_test(connection, webhook))

    return await mutate(request, test)


async def rotate_webhook_secret(request: web.Request) -> web.Response:
    """Replace the secret, which only this response contains. The previous secret also signs for 24 hours."""
    webhook = _webhook_ref(request)

    async def rotate(connection: Connection) -> web.Response:
        secret = await usecase.rotate_secret(connection, request.app[RESOURCES].secret_cipher, webhook)
        return reply({**orjson.loads(await _webhook_json(connection, webhook)), "secret": secret})

    return await mutate(request, rotate, shown_once="secret")


async def recover_webhook(request: web.Request) -> web.Response:
    """Deliver all events since a time that this webhook missed."""
    body, webhook = await parse_body(request, RecoverIn), _webhook_ref(request)

    async def recover(connection: Connection) -> web.Response:
        recovery_id = await usecase.request_recovery(connection, webhook, body.since)
        found = await webhooks.find_recovery(connection, webhook.org_id, webhook.webhook_id, recovery_id)
        location = f"/v1/webhooks/{webhook.webhook_id}/recoveries/{recovery_id}"
        return _accepted(found, {"Location": location})

    return await mutate(request, recover)


async def get_webhook_recovery(request: web.Request) -> web.Response:
    """Return the progress of a recovery."""
    webhook, recovery_id = _webhook_ref(request), request.match_info["recovery_id"]
    if not is_id("rec", recovery_id):
        raise _recovery_not_found(recovery_id)
    async with _connection(request) as connection:
        await _webhook_json(connection, webhook)
        found = await webhooks.find_recovery(connection, webhook.org_id, webhook.webhook_id, recovery_id)
    if found is None:
        raise _recovery_not_found(recovery_id)
    return reply_json(found)


async def list_webhook_deliveries(request: web.Request) -> web.Response:
    """List deliveries with all of their attempts, newest event first."""
    query, webhook = parse_query(request, DeliveryQuery), _webhook_ref(request)
    filters = {"webhook_id": webhook.webhook_id, "status": query.status}
    cursors = Cursors(_DELIVERIES, "deliveries", webhook.org_id, filters)
    before = cursors.read(query.starting_after)
    async with _connection(request) as connection:
        await _webhook_json(connection, webhook)
        page = await deliveries.list_page(
            connection, webhook.org_id, webhook.webhook_id, before, query.status, query.limit
        )
    return reply_page(ListPage(page.rows, cursors.write(page.next)))


async def redeliver_webhook_event(request: web.Request) -> web.Response:
    """Deliver an event again."""
    webhook, delivery_id = _webhook_ref(request), request.match_info["delivery_id"]
    if not is_id("dlv", delivery_id):
        raise delivery_not_found(delivery_id)

    async def redeliver(connection: Connection) -> web.Response:
        await usecase.request_redelivery(connection, webhook, delivery_id)
        return await _accepted_delivery(connection, webhook, delivery_id)

    return await mutate(request, redeliver)


def _connection(request: web.Request) -> AbstractAsyncContextManager[Connection]:
    return as_organization(request.app[RESOURCES].pool, get_caller(request).org_id)


def _webhook_ref(request: web.Request) -> WebhookRef:
    """Return the identity of the webhook in the path. Raises NotFound if the ID is malformed."""
    caller, webhook_id = get_caller(request), request.match_info["id"]
    if not is_id("whk", webhook_id):
        raise webhook_not_found(webhook_id)
    return WebhookRef(caller.org_id, webhook_id, caller.project_id)


def _project(caller: Caller, requested: str | None) -> str | None:
    """Return the project of a webhook. A key that is bound to a project can create webhooks only for that project."""
    if caller.project_id is not None and requested not in (None, caller.project_id):
        raise Forbidden(f"project_id: this key is bound to the project {caller.project_id!r}")
    return caller.project_id or requested


def _checked(request: web.Request, url: str) -> str:
    return checked_url(url, _settings(request).webhook_addresses)


def _settings(request: web.Request) -> Settings:
    return request.app[RESOURCES].settings


async def _webhook_json(connection: Connection, webhook: WebhookRef) -> str:
    found = await webhooks.find_one(connection, *webhook)
    if found is None:
        raise webhook_not_found(webhook.webhook_id)
    return found


async def _accepted_delivery(connection: Connection, webhook: WebhookRef, delivery_id: str) -> web.Response:
    return _accepted(await deliveries.find_one(connection, webhook.org_id, webhook.webhook_id, delivery_id))


def _accepted(found: str | None, headers: dict[str, str] | None = None) -> web.Response:
    return reply_json(found or "null", 202, headers)


def _recovery_not_found(recovery_id: str) -> NotFound:
    return NotFound(f"recovery {recovery_id[:100]!r} not found")
