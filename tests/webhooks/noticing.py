"""Webhooks with a format of messages, events for them, and plans of their notices at a chosen time."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import orjson

from service.database.transactions import notifying_transaction
from service.domain.ids import new_id
from service.events import store as events_store
from service.events.model import NewEvent
from service.webhooks.operations import NewWebhook
from service.webhooks.plan_notices import plan_notices
from tests.stored import Store
from tests.webhooks.dispatching import LINK_BASE, ORG, add_webhook

SLACK_URL: Final = "http://127.0.0.1:9/hook"


async def add_slack(store: Store, url: str = SLACK_URL, **changes: Any) -> NewWebhook:
    return await add_webhook(store, url, **{"format": "slack", **changes})


def case_event(subject: str | None, event_type: str = "case.broken", **fields: Any) -> NewEvent:
    """Return an event of a case with this ID; None: an event without a subject of its own."""
    if subject is None:
        return NewEvent(ORG, new_id("evt"), "export.failed", "shop", None, '{"error": "no disk"}')
    data = {"id": subject, "name": f"test_{subject}", "suite": "cart", "state": {"value": "broken"}}
    return NewEvent(ORG, new_id("evt"), event_type, "shop", None, orjson.dumps(data).decode(), **fields)


async def publish(store: Store, subjects: Iterable[str | None]) -> list[str]:
    """Insert one event for each subject, and return the IDs."""
    events = [case_event(subject) for subject in subjects]
    async with store.pool.acquire() as connection, notifying_transaction(connection):
        await events_store.insert(connection, events)
    return [event.event_id for event in events]


async def plan_all(store: Store, now: datetime | None = None) -> int:
    """Plan until no notice is due, and return the number of plans."""
    plans = 0
    while await plan_notices(store.pool, LINK_BASE, now):
        plans += 1
    return plans


async def messages(store: Store) -> list[str]:
    """Return the types of the events that have a delivery, oldest first."""
    rows = await store.pool.fetch("SELECT type FROM deliveries JOIN events USING (org_id, event_id) ORDER BY event_id")
    return [row["type"] for row in rows]


async def summaries(store: Store) -> list[dict[str, Any]]:
    rows = await store.pool.fetch("SELECT data FROM events WHERE type = 'webhook.summary' ORDER BY event_id")
    return [orjson.loads(row["data"]) for row in rows]
