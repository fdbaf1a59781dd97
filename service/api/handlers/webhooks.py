"""Webhooks over HTTP: registered, changed, tried, and what became of each delivery."""

from contextlib import AbstractAsyncContextManager
from typing import Final

import orjson
from aiohttp import web

from service.api.http.authentication import caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import compact, reply, reply_json, reply_page
from service.api.server.resources import RESOURCES
from service.contracts.queries import PageQuery
from service.contracts.webhooks import DeliveryQuery, RecoverIn, WebhookIn, WebhookPatch, checked_url
from service.domain.cursors import Cursors, ids
from service.domain.errors import Forbidden, NotFound
from service.domain.ids import is_id
from service.domain.keys import Caller
from service.store import deliveries, webhooks
from service.store.postgres.database import Connection, as_organization
from service.store.webhooks import WebhookFields
from service.usecases.webhooks.manage_webhooks import (
    WebhookRef,
    change_webhook,
    create_webhook,
    delete_webhook,
    no_delivery,
    no_webhook,
    request_recovery,
    request_redelivery,
    request_test,
    rotate_secret,
)

_WEBHOOKS: Final = ids("whk")
_DELIVERIES: Final = ids("dlv")


async def post_webhook(request: web.Request) -> web.Response:
    """Registers an endpoint; its secret is shown in this answer alone."""
    body, who = await parse_body(request, WebhookIn), caller(request)
    url = _checked(request, body.url)
    described = WebhookFields(url, body.description, list(body.events), _project(who, body.project_id), body.enabled)

    async def create(connection: Connection) -> web.Response:
        made = await create_webhook(connection, who.org_id, described)
        shown = await _shown(connection, WebhookRef(who.org_id, made.webhook_id))
        location = {"Location": f"/v1/webhooks/{made.webhook_id}"}
        return reply({**orjson.loads(shown), "secret": made.secret}, 201, location)

    return await mutate(request, create, shown_once="secret")


async def list_webhooks(request: web.Request) -> web.Response:
    """Webhooks, newest first."""
    query, who = parse_query(request, PageQuery), caller(request)
    cursors = Cursors(_WEBHOOKS, "webhooks", who.org_id, {"project_id": who.project_id})
    before = cursors.read(query.starting_after)
    async with _connection(request) as connection:
        page = await webhooks.list_page(connection, who.org_id, who.project_id, before, query.limit)
    return reply_page(compact(page.data), cursors.write(page.next))


async def get_webhook(request: web.Request) -> web.Response:
    """One webhook, with how its endpoint does."""
    address = _address(request)
    async with _connection(request) as connection:
        return reply_json(await _shown(connection, address))


async def patch_webhook(request: web.Request) -> web.Response:
    """Changes what is sent and leaves the rest."""
    body, address = await parse_body(request, WebhookPatch), _address(request)
    changes = body.changes()
    if "url" in changes:
        _checked(request, changes["url"])
    if "project_id" in changes:
        changes["project_id"] = _project(caller(request), changes["project_id"])

    async def change(connection: Connection) -> web.Response:
        await change_webhook(connection, address, changes)
        return reply_json(await _shown(connection, address))

    return await mutate(request, change)


async def remove_webhook(request: web.Request) -> web.Response:
    """Ends a webhook and forgets its deliveries."""
    address = _address(request)

    async def delete(connection: Connection) -> web.Response:
        await delete_webhook(connection, address)
        return web.Response(status=204)

    return await mutate(request, delete)


async def post_test(request: web.Request) -> web.Response:
    """Sends an event of type webhook.test to this webhook alone."""
    address = _address(request)

    async def test(connection: Connection) -> web.Response:
        return await _accepted_delivery(connection, address, await request_test(connection, address))

    return await mutate(request, test)


async def post_rotation(request: web.Request) -> web.Response:
    """Signs with a new secret, shown in this answer alone; the one before signs along for 24 hours."""
    address = _address(request)

    async def rotate(connection: Connection) -> web.Response:
        secret = await rotate_secret(connection, address)
        return reply({**orjson.loads(await _shown(connection, address)), "secret": secret})

    return await mutate(request, rotate, shown_once="secret")


async def post_recovery(request: web.Request) -> web.Response:
    """Has everything delivered that this webhook has missed since a moment."""
    body, address = await parse_body(request, RecoverIn), _address(request)

    async def recover(connection: Connection) -> web.Response:
        recovery_id = await request_recovery(connection, address, body.since)
        shown = await webhooks.find_recovery(connection, address.org_id, address.webhook_id, recovery_id)
        location = f"/v1/webhooks/{address.webhook_id}/recoveries/{recovery_id}"
        return _accepted(shown, {"Location": location})

    return await mutate(request, recover)


async def get_recovery(request: web.Request) -> web.Response:
    """How far a recovery has come."""
    address, recovery_id = _address(request), request.match_info["recovery_id"]
    if not is_id("rec", recovery_id):
        raise _no_recovery(recovery_id)
    async with _connection(request) as connection:
        await _shown(connection, address)
        shown = await webhooks.find_recovery(connection, address.org_id, address.webhook_id, recovery_id)
    if shown is None:
        raise _no_recovery(recovery_id)
    return reply_json(shown)


async def list_deliveries(request: web.Request) -> web.Response:
    """Deliveries with every attempt, newest event first."""
    query, address = parse_query(request, DeliveryQuery), _address(request)
    filters = {"webhook_id": address.webhook_id, "status": query.status}
    cursors = Cursors(_DELIVERIES, "deliveries", address.org_id, filters)
    before = cursors.read(query.starting_after)
    async with _connection(request) as connection:
        await _shown(connection, address)
        page = await deliveries.list_page(
            connection, address.org_id, address.webhook_id, before, query.status, query.limit
        )
    return reply_page(compact(page.data), cursors.write(page.next))


async def post_redelivery(request: web.Request) -> web.Response:
    """Delivers an event once more."""
    address, delivery_id = _address(request), request.match_info["delivery_id"]
    if not is_id("dlv", delivery_id):
        raise no_delivery(delivery_id)

    async def redeliver(connection: Connection) -> web.Response:
        await request_redelivery(connection, address, delivery_id)
        return await _accepted_delivery(connection, address, delivery_id)

    return await mutate(request, redeliver)


def _connection(request: web.Request) -> AbstractAsyncContextManager[Connection]:
    return as_organization(request.app[RESOURCES].pool, caller(request).org_id)


def _address(request: web.Request) -> WebhookRef:
    """The webhook in the path. Raises NotFound for what can't be an id."""
    who, webhook_id = caller(request), request.match_info["id"]
    if not is_id("whk", webhook_id):
        raise no_webhook(webhook_id)
    return WebhookRef(who.org_id, webhook_id, who.project_id)


def _project(who: Caller, wanted: str | None) -> str | None:
    """The project of a webhook; a key that is bound to one makes webhooks of that one alone."""
    if who.project_id is not None and wanted not in (None, who.project_id):
        raise Forbidden(f"this key is bound to the project {who.project_id!r}")
    return who.project_id or wanted


def _checked(request: web.Request, url: str) -> str:
    return checked_url(url, allow_loopback=request.app[RESOURCES].settings.webhook_allow_loopback)


async def _shown(connection: Connection, address: WebhookRef) -> str:
    shown = await webhooks.find_one(connection, *address)
    if shown is None:
        raise no_webhook(address.webhook_id)
    return shown


async def _accepted_delivery(connection: Connection, address: WebhookRef, delivery_id: str) -> web.Response:
    return _accepted(await deliveries.find_one(connection, address.org_id, address.webhook_id, delivery_id))


def _accepted(shown: str | None, headers: dict[str, str] | None = None) -> web.Response:
    return reply_json(shown or "null", 202, headers)


def _no_recovery(recovery_id: str) -> NotFound:
    return NotFound(f"there is no recovery {recovery_id[:100]!r}")
