"""A webhook with a long backlog that is disabled or deleted delays no other webhook."""

import pytest

from service.domain.ids import OrgId
from service.webhooks.operations import NewWebhook, WebhookRef, change_webhook, delete_webhook
from tests.fixtures.broker import until
from tests.receivers import receiving
from tests.run_events import run_event
from tests.stored import Store
from tests.webhooks.dispatching import add_webhook, dispatching, insert_due

BACKLOG = 5_000
MAX_STEP = 1_000


async def test_410_response_of_a_webhook_with_a_locked_backlog_delays_no_other_webhook(store: Store) -> None:
    """The lock simulates a change of millions of deliveries."""
    async with receiving(410) as gone, receiving() as healthy:
        webhook = await add_webhook(store, gone.url, ("export.completed",))
        await insert_due(store, webhook, 50)
        await add_webhook(store, healthy.url, ("run.completed",))
        async with store.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT FROM deliveries ORDER BY due_at DESC LIMIT 1 FOR UPDATE")
            async with dispatching(store):
                await until(lambda: _is_disabled(store, webhook), "the 410 response")
                await store.ingest(run_event())
                await until(lambda: _is_delivered(store), "the delivery to the healthy webhook")
            await connection.execute("SELECT 1")  # the lock still exists


@pytest.mark.parametrize("ending", ["410", "by_request", "deleted"])
async def test_backlog_of_an_ended_webhook_is_finished_in_steps(store: Store, ending: str) -> None:
    async with receiving(410) as receiver:
        webhook = await add_webhook(store, receiver.url, ("export.completed",))
        await insert_due(store, webhook, BACKLOG)
        ref = WebhookRef(OrgId(1), webhook.webhook_id)
        async with store.pool.acquire() as connection:
            if ending == "by_request":
                await change_webhook(connection, ref, {"enabled": False})
            if ending == "deleted":
                await delete_webhook(connection, ref)
        changed_at_most = await _largest_change(store)
        async with dispatching(store):
            await until(lambda: _has_no_backlog(store), "the end of the backlog", 20)
            if ending == "deleted":
                await until(lambda: _is_removed(store, webhook), "the removal of the webhook", 5)
            else:
                changed_at_most = await _largest_change(store)
    assert changed_at_most <= MAX_STEP, "one transaction changed many deliveries"


async def test_webhook_that_is_enabled_before_its_backlog_is_finished_receives_the_rest(store: Store) -> None:
    async with receiving() as receiver:
        webhook = await add_webhook(store, receiver.url, ("export.completed",))
        await insert_due(store, webhook, MAX_STEP + 10)
        ref = WebhookRef(OrgId(1), webhook.webhook_id)
        async with store.pool.acquire() as connection:
            await change_webhook(connection, ref, {"enabled": False})
            await change_webhook(connection, ref, {"enabled": True})
        async with dispatching(store):
            await until(lambda: _has_no_backlog(store), "all deliveries")
    assert len(receiver.event_ids()) == 10


async def _largest_change(store: Store) -> int:
    """Return the largest number of deliveries that one transaction has updated since they were inserted."""
    count = await store.pool.fetchval(
        "SELECT coalesce(max(count), 0) FROM"
        " (SELECT count(*) FROM deliveries WHERE status = 'exhausted' GROUP BY xmin::text) changes"
    )
    return int(count)


async def _is_disabled(store: Store, webhook: NewWebhook) -> bool:
    query = "SELECT NOT enabled FROM webhooks WHERE webhook_id = $1"
    return bool(await store.pool.fetchval(query, webhook.webhook_id))


async def _is_delivered(store: Store) -> bool:
    return bool(await store.pool.fetchval("SELECT EXISTS (SELECT FROM deliveries WHERE status = 'delivered')"))


async def _has_no_backlog(store: Store) -> bool:
    return bool(await store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM deliveries WHERE due_at IS NOT NULL)"))


async def _is_removed(store: Store, webhook: NewWebhook) -> bool:
    query = "SELECT NOT EXISTS (SELECT FROM webhooks WHERE webhook_id = $1)"
    return bool(await store.pool.fetchval(query, webhook.webhook_id))
