"""HTTP handlers of webhooks, their deliveries, and recoveries."""

from typing import Final

from aiohttp import web

from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate, mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import Operation, Route, page_of
from service.mutations.operations import Transaction
from service.webhooks import operations
from service.webhooks.contract import (
    DeliveryQuery,
    RecoverIn,
    Recovery,
    Webhook,
    WebhookDelivery,
    WebhookIn,
    WebhookPatch,
    WebhookWithSecret,
)
from service.webhooks.operations import WebhookRef


async def create_webhook(request: web.Request) -> web.Response:
    """Create a webhook. Only this response contains its secret, unless the client chose the secret."""
    body, caller, resources = await parse_body(request, WebhookIn), get_caller(request), request.app[RESOURCES]
    limit, cipher = resources.settings.webhooks_per_organization, resources.secret_cipher
    fields = operations.read_request(caller, body, resources.settings.webhook_addresses)

    async def create(transaction: Transaction) -> web.Response:
        new = await operations.create_webhook(transaction, cipher, caller.org_id, fields, limit, body.secret)
        webhook = await operations.read_webhook(transaction, WebhookRef(caller.org_id, new.webhook_id))
        secret = new.secret if body.secret is None else None
        return reply({**webhook, "secret": secret}, 201, {"Location": f"/v1/webhooks/{new.webhook_id}"})

    return await mutate(request, create, shown_once="secret")


async def list_webhooks(request: web.Request) -> web.Response:
    """List webhooks, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await operations.list_webhooks(request.app[RESOURCES].pool, caller, query))


async def get_webhook(request: web.Request) -> web.Response:
    """Return one webhook with the state of its endpoint."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await operations.find_webhook(pool, caller, request.match_info["id"]))


async def update_webhook(request: web.Request) -> web.Response:
    """Change some fields of a webhook. Absent fields keep their values."""
    body, webhook = await parse_body(request, WebhookPatch), _webhook_ref(request)
    addresses = request.app[RESOURCES].settings.webhook_addresses
    changes = operations.read_changes(get_caller(request), body, addresses)
    return await mutate_object(request, operations.change_webhook, webhook, changes)


async def delete_webhook(request: web.Request) -> web.Response:
    """Delete a webhook and its deliveries."""
    webhook = _webhook_ref(request)
    return await mutate_object(request, operations.delete_webhook, webhook)


async def test_webhook(request: web.Request) -> web.Response:
    """Send an event of type `webhook.test` to this webhook only."""
    webhook = _webhook_ref(request)
    return await mutate_object(request, operations.request_test, webhook, status=202)


async def rotate_webhook_secret(request: web.Request) -> web.Response:
    """Replace the secret, which only this response contains. The previous secret also signs for 24 hours."""
    webhook, cipher = _webhook_ref(request), request.app[RESOURCES].secret_cipher

    async def rotate(transaction: Transaction) -> web.Response:
        secret = await operations.rotate_secret(transaction, cipher, webhook)
        return reply({**await operations.read_webhook(transaction, webhook), "secret": secret})

    return await mutate(request, rotate, shown_once="secret")


async def recover_webhook(request: web.Request) -> web.Response:
    """Deliver all events since a time that this webhook missed."""
    body, webhook = await parse_body(request, RecoverIn), _webhook_ref(request)
    return await mutate_object(
        request, operations.request_recovery, webhook, body.since, status=202,
        collection=f"/v1/webhooks/{webhook.webhook_id}/recoveries",
    )  # fmt: skip


async def get_webhook_recovery(request: web.Request) -> web.Response:
    """Return the progress of a recovery."""
    pool, caller, path = request.app[RESOURCES].pool, get_caller(request), request.match_info
    return reply(await operations.find_recovery(pool, caller, path["id"], path["recovery_id"]))


async def list_webhook_deliveries(request: web.Request) -> web.Response:
    """List deliveries with all of their attempts, newest event first."""
    query, caller = parse_query(request, DeliveryQuery), get_caller(request)
    pool, webhook_id = request.app[RESOURCES].pool, request.match_info["id"]
    return reply_page(await operations.list_deliveries(pool, caller, webhook_id, query))


async def redeliver_webhook_event(request: web.Request) -> web.Response:
    """Deliver an event again."""
    webhook, delivery_id = _webhook_ref(request), request.match_info["delivery_id"]
    operations.check_delivery_id(delivery_id)
    return await mutate_object(request, operations.request_redelivery, webhook, delivery_id, status=202)


def _webhook_ref(request: web.Request) -> WebhookRef:
    return operations.webhook_ref(get_caller(request), request.match_info["id"])


ROUTES: Final = (
    Route("POST", "/webhooks", create_webhook, "webhooks:manage", Operation(
        "create_webhook", "Register a webhook", {201: WebhookWithSecret}, body=WebhookIn,
        description="Only this response contains the secret that the service generated.",
    )),
    Route("GET", "/webhooks", list_webhooks, "webhooks:manage", Operation(
        "list_webhooks", "List webhooks, newest first", page_of(Webhook), PageQuery,
    )),
    Route("GET", "/webhooks/{id}", get_webhook, "webhooks:manage", Operation(
        "get_webhook", "Get a webhook with the state of its endpoint", {200: Webhook}, errors=("not_found",),
    )),
    Route("PATCH", "/webhooks/{id}", update_webhook, "webhooks:manage", Operation(
        "update_webhook", "Update the given fields of a webhook", {200: Webhook},
        body=WebhookPatch, errors=("not_found",),
    )),
    Route("DELETE", "/webhooks/{id}", delete_webhook, "webhooks:manage", Operation(
        "delete_webhook", "Delete a webhook and its deliveries", {204: None}, errors=("not_found",),
    )),
    Route("POST", "/webhooks/{id}/test", test_webhook, "webhooks:manage", Operation(
        "test_webhook", "Send an event of type webhook.test to a webhook", {202: WebhookDelivery},
        errors=("not_found",),
    )),
    Route("POST", "/webhooks/{id}/rotate-secret", rotate_webhook_secret, "webhooks:manage", Operation(
        "rotate_webhook_secret", "Replace the secret of a webhook", {200: WebhookWithSecret},
        errors=("not_found",),
        description="Only this response contains the new secret. The previous one also signs deliveries for 24 hours.",
    )),
    Route("POST", "/webhooks/{id}/recover", recover_webhook, "webhooks:manage", Operation(
        "recover_webhook", "Deliver the events that a webhook has missed since a time", {202: Recovery},
        body=RecoverIn, errors=("not_found",), has_location=True,
    )),
    Route("GET", "/webhooks/{id}/recoveries/{recovery_id}", get_webhook_recovery,
          "webhooks:manage", Operation(
        "get_webhook_recovery", "Get the progress of a recovery", {200: Recovery}, errors=("not_found",),
    )),
    Route("GET", "/webhooks/{id}/deliveries", list_webhook_deliveries, "webhooks:manage", Operation(
        "list_webhook_deliveries", "List deliveries with their attempts, newest event first",
        page_of(WebhookDelivery), DeliveryQuery, errors=("not_found",),
    )),
    Route(
        "POST", "/webhooks/{id}/deliveries/{delivery_id}/redeliver", redeliver_webhook_event,
        "webhooks:manage",
        Operation(
            "redeliver_webhook_event", "Deliver an event to a webhook again", {202: WebhookDelivery},
            errors=("not_found",),
        ),
    ),
)  # fmt: skip
