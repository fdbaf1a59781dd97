"""Webhooks stored in the database, and dispatchers in the test process that deliver events to them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from consumers.webhooks import Dispatcher
from service.database.encryption import SecretCipher
from service.domain.addresses import AllowedAddresses
from service.domain.ids import OrgId, new_id
from service.outbound.webhooks import open_webhook_client
from service.webhooks.model import DeliveryPolicy
from service.webhooks.operations import NewWebhook, create_webhook
from service.webhooks.store import WebhookFields
from tests.fixtures.broker import until
from tests.running import running
from tests.stored import Store

POLICY = DeliveryPolicy()
PLAIN = SecretCipher()
ORG = OrgId(1)
LINK_BASE = "https://results.example.org"


async def add_webhook(
    store: Store,
    url: str,
    events: tuple[str, ...] = (),
    cipher: SecretCipher = PLAIN,
    org_id: OrgId = ORG,
    **changes: Any,
) -> NewWebhook:
    fields = WebhookFields(url, "", list(events), None, True)._replace(**changes)
    async with store.pool.acquire() as connection, connection.transaction():
        return await create_webhook(connection, cipher, org_id, fields, 100)


@asynccontextmanager
async def dispatching(
    store: Store,
    count: int = 1,
    policy: DeliveryPolicy = POLICY,
    name_servers: Sequence[str] | None = None,
    cipher: SecretCipher = PLAIN,
) -> AsyncIterator[None]:
    """Run dispatchers while the block runs, then stop them as SIGTERM does: attempts in progress finish."""
    stopping = asyncio.Event()
    allowed = AllowedAddresses(loopback=True)
    async with open_webhook_client(policy.attempt_timeout_s, allowed, name_servers) as client:
        dispatchers = (Dispatcher(store.pool, client, cipher, policy, stopping, LINK_BASE).run() for _ in range(count))
        async with running(stopping, *dispatchers):
            yield


async def delivery(store: Store, webhook: NewWebhook) -> dict[str, Any]:
    """Return the only delivery of this webhook."""
    row = await store.pool.fetchrow(
        "SELECT *, extract(epoch FROM due_at - now())::float8 AS due_in_s FROM deliveries WHERE webhook_id = $1",
        webhook.webhook_id,
    )
    assert row is not None
    return {**row, "attempt_log": row["attempt_log"]}


async def attempted(store: Store, webhook: NewWebhook, attempts: int = 1) -> dict[str, Any]:
    """Wait until the only delivery of this webhook has had that many attempts, and return it."""

    async def was_attempted() -> bool:
        return len((await delivery(store, webhook))["attempt_log"]) >= attempts

    await until(was_attempted, f"{attempts} attempts")
    return await delivery(store, webhook)


async def insert_due(store: Store, webhook: NewWebhook, count: int) -> None:
    """Insert events with a due delivery to this webhook each."""
    ids = [new_id("evt") for _ in range(count)]
    await store.pool.execute(
        "INSERT INTO events (org_id, event_id, type, data) SELECT 1, unnest($1::text[]), 'run.completed', '{}'", ids
    )
    await store.pool.execute(
        "INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id)"
        " SELECT $1, $2, delivery_id($2, event_id), event_id FROM unnest($3::text[]) event_id",
        OrgId(1), webhook.webhook_id, ids,
    )  # fmt: skip
    await store.pool.execute("ANALYZE deliveries, events")


async def make_due(store: Store) -> None:
    await store.pool.execute("UPDATE deliveries SET due_at = now() WHERE due_at IS NOT NULL")
    await store.pool.execute("UPDATE webhooks SET paused_until = NULL")
    await store.pool.execute("SELECT pg_notify('events_written', '')")


async def event_objects(store: Store, event_type: str) -> list[dict[str, Any]]:
    """Return `data.object` of all stored events of a type."""
    rows = await store.pool.fetch("SELECT data FROM events WHERE type = $1 ORDER BY event_id", event_type)
    return [orjson.loads(row["data"]) for row in rows]
