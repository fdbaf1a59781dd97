"""Webhooks with rows, and dispatchers in this process that bring events to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from consumers.webhooks import Dispatcher
from service.domain.ids import OrgId
from service.outbound.webhooks import open_webhook_client
from service.store.webhooks import WebhookFields
from service.usecases.webhooks.manage_webhooks import NewWebhook, create_webhook
from tests.consumers.conftest import until
from tests.running import running
from tests.stored import Store


async def add_webhook(store: Store, url: str, events: tuple[str, ...] = (), **said: Any) -> NewWebhook:
    described = WebhookFields(url, "", list(events), None, True)._replace(**said)
    async with store.pool.acquire() as connection:
        return await create_webhook(connection, OrgId(1), described)


@asynccontextmanager
async def dispatching(store: Store, count: int = 1) -> AsyncIterator[None]:
    """Stopped as SIGTERM stops them: with what is under way finished."""
    stopping = asyncio.Event()
    async with open_webhook_client(allow_loopback=True) as client:
        team = (Dispatcher(store.pool, client, stopping).run() for _ in range(count))
        async with running(stopping, *team):
            yield


async def delivery(store: Store, webhook: NewWebhook) -> dict[str, Any]:
    """The one delivery of this webhook."""
    row = await store.pool.fetchrow(
        "SELECT *, extract(epoch FROM due_at - now())::float8 AS due_in_s FROM deliveries WHERE webhook_id = $1",
        webhook.webhook_id,
    )
    assert row is not None
    return {**row, "attempt_log": row["attempt_log"]}


async def attempted(store: Store, webhook: NewWebhook, times: int = 1) -> dict[str, Any]:
    """The one delivery, once it was attempted so often."""

    async def was() -> bool:
        return len((await delivery(store, webhook))["attempt_log"]) >= times

    await until(was, f"{times} attempts")
    return await delivery(store, webhook)


async def make_due(store: Store) -> None:
    await store.pool.execute("UPDATE deliveries SET due_at = now() WHERE due_at IS NOT NULL")
    await store.pool.execute("UPDATE webhooks SET paused_until = NULL")
    await store.pool.execute("SELECT pg_notify('events_written', '')")


async def told(store: Store, event_type: str) -> list[dict[str, Any]]:
    rows = await store.pool.fetch("SELECT data FROM events WHERE type = $1 ORDER BY event_id", event_type)
    return [orjson.loads(row["data"]) for row in rows]
