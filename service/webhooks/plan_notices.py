"""Notices of webhooks with a format of messages: one message per subject and day, few per hour, and summaries."""

from datetime import datetime
from typing import Final

import orjson

from service.database.database import Connection, Pool
from service.database.transactions import notifying_transaction
from service.domain.ids import new_id
from service.domain.timestamps import format_time
from service.events import store as events_store
from service.events.model import SUMMARY, NewEvent
from service.webhooks import store
from service.webhooks.messages import write_message
from service.webhooks.model import MAX_SUBJECTS, Endpoint

_MAX_COUNTS: Final = 20  # pairs of a type and a project


async def plan_notices(pool: Pool, link_base: str, now: datetime | None = None) -> bool:
    """Plan the messages of one webhook in one transaction. Return False if no notice is due.

    `now` is the time of the database unless a test passes another one. A notice is waiting, held, in a message, or in a
    summary. Only committed rows state which, so that a crash neither repeats nor drops it.
    """
    async with pool.acquire() as connection, notifying_transaction(connection):
        endpoint = await store.lock_planned(connection, now)
        if endpoint is None:
            return False
        now = now or await store.read_clock(connection)
        await store.plan(connection, endpoint, now)
        await _summarize(connection, endpoint, now, link_base)
        events_store.notify_dispatchers(endpoint[0])
        return True


async def _summarize(connection: Connection, endpoint: Endpoint, now: datetime, link_base: str) -> None:
    """Insert one event with all held notices, which only this webhook receives, if a held one is due."""
    (org_id, webhook_id), event_id = endpoint, new_id("evt")
    counts = await store.summarize(connection, endpoint, now, event_id)
    if not counts:
        return
    first = sorted(id_ for row in counts for id_ in row["event_ids"])[:MAX_SUBJECTS]
    messages = [
        write_message(row["type"], orjson.loads(row["data"]), row["project_id"], link_base)
        for row in await store.find_events(connection, org_id, first)
    ]
    total = sum(row["count"] for row in counts)
    shown = [{name: row[name] for name in ("type", "project_id", "count")} for row in counts[:_MAX_COUNTS]]
    summary = {
        "webhook_id": webhook_id,
        "since": format_time(min(row["since"] for row in counts)),
        "until": format_time(max(row["until"] for row in counts)),
        "total": total,
        "counts": shown,
        "other_count": total - sum(row["count"] for row in counts[:_MAX_COUNTS]),
        "subjects": [
            {"title": message.headline, "url": next(iter(message.links.values()), None)} for message in messages
        ],
    }
    event = NewEvent(org_id, event_id, SUMMARY, None, None, orjson.dumps(summary).decode())
    await events_store.insert_without_deliveries(connection, event)
    await store.insert_test(connection, org_id, webhook_id, event_id)
