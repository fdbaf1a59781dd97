"""Notices are in exactly one message or one summary, also after failures, and a webhook gets few messages per hour."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.domain.ids import OrgId
from service.retention import cleanup
from service.webhooks import plan_notices as planner
from service.webhooks import store as webhooks_store
from service.webhooks.deliver_events import exhaust_disabled, recover_missed, remove_deleted
from service.webhooks.operations import (
    NewWebhook,
    WebhookRef,
    change_webhook,
    delete_webhook,
    request_recovery,
)
from tests.fixtures.broker import until
from tests.receivers import receiving
from tests.stored import Store
from tests.webhooks.dispatching import LINK_BASE, ORG, add_webhook, delivery, dispatching
from tests.webhooks.noticing import add_slack, messages, plan_all, publish, summaries

NOON = datetime(2036, 12, 1, 12, tzinfo=UTC)  # later than the events, which have the time of the test
HOUR = timedelta(hours=1)
MIDNIGHT = NOON + 12 * HOUR


async def change(store: Store, webhook: NewWebhook, **changes: Any) -> None:
    async with store.pool.acquire() as connection:
        await change_webhook(connection, WebhookRef(ORG, webhook.webhook_id), changes)


async def notices(store: Store) -> list[tuple[str, bool, str | None]]:
    """Return the event of each notice, whether it waits for a plan, and its message."""
    rows = await store.pool.fetch("SELECT event_id, due_at IS NOT NULL, message_id FROM notices ORDER BY event_id")
    return [tuple(row) for row in rows]


async def test_event_is_a_notice_first_and_a_delivery_of_standard_webhooks_immediately(store: Store) -> None:
    standard, slack = await add_webhook(store, "http://127.0.0.1:9/hook"), await add_slack(store)
    [event_id] = await publish(store, ["case_1"])
    rows = "SELECT webhook_id, event_id FROM deliveries ORDER BY created_at"
    assert [tuple(row) for row in await store.pool.fetch(rows)] == [(standard.webhook_id, event_id)]
    assert await plan_all(store) == 1
    assert [row["webhook_id"] for row in await store.pool.fetch(rows)] == [standard.webhook_id, slack.webhook_id]


async def test_subject_has_one_message_per_day_and_its_other_notices_are_in_the_summary_of_the_day(
    store: Store,
) -> None:
    await add_slack(store)
    await publish(store, ["case_1", "case_1", "case_2", None, None])
    await plan_all(store, NOON)
    await publish(store, ["case_2"])
    await plan_all(store, NOON + 11 * HOUR)
    assert await messages(store) == ["case.broken", "case.broken", "export.failed", "export.failed"]
    assert await plan_all(store, MIDNIGHT - timedelta(seconds=1)) == 0
    await plan_all(store, MIDNIGHT)
    [summary] = await summaries(store)
    assert (summary["total"], summary["other_count"]) == (2, 0)
    assert summary["counts"] == [{"type": "case.broken", "project_id": "shop", "count": 2}]
    assert summary["subjects"] == [
        {"title": f"Test is broken: test_{case}", "url": f"{LINK_BASE}/console/cases/{case}"}
        for case in ("case_1", "case_2")
    ]
    assert summary["since"].startswith("2036-12-01T12:00:00")
    assert summary["until"].startswith("2036-12-01T23:00:00")
    await publish(store, ["case_1"])
    await plan_all(store, MIDNIGHT)
    assert (await messages(store))[-1] == "case.broken"


async def test_hour_has_at_most_20_messages_and_a_summary_at_its_end(store: Store) -> None:
    await add_slack(store)
    await publish(store, ["case_0", "case_0", *(f"case_{number}" for number in range(1, 15))])
    await plan_all(store, NOON)
    await publish(store, [f"case_{number}" for number in range(15, 31)])
    await plan_all(store, NOON + HOUR - timedelta(seconds=1))
    assert await messages(store) == ["case.broken"] * 20
    await plan_all(store, NOON + HOUR)
    [summary] = await summaries(store)
    assert summary["total"] == 12  # 31 cases and one repeated notice: it needn't wait until midnight
    assert len(summary["subjects"]) == 10
    await publish(store, ["case_30"])  # a case that had no message of its own today
    await plan_all(store, NOON + HOUR)
    assert (await messages(store))[-2:] == ["webhook.summary", "case.broken"]
    assert await plan_all(store, NOON + 2 * HOUR) == 0


async def test_summary_counts_notices_of_many_projects(store: Store) -> None:
    await add_slack(store)
    await publish(store, [None] * 100)
    await store.pool.execute("UPDATE events SET project_id = 'p' || (number_of.n % 30) FROM ("
                             " SELECT event_id, row_number() OVER (ORDER BY event_id) AS n FROM events) number_of"
                             " WHERE events.event_id = number_of.event_id")  # fmt: skip
    await plan_all(store, NOON)
    await plan_all(store, NOON + HOUR)
    [summary] = await summaries(store)
    assert summary["total"] == 80 == summary["other_count"] + sum(row["count"] for row in summary["counts"])
    assert summary["other_count"] > 0


async def test_disabled_webhook_keeps_its_notices_until_it_is_enabled(store: Store) -> None:
    webhook = await add_slack(store)
    await publish(store, ["case_1", "case_1"])
    await change(store, webhook, enabled=False)
    await publish(store, ["case_2"])  # as for other webhooks, not an event of this one
    assert await plan_all(store, NOON) == 0
    await change(store, webhook, enabled=True)
    await plan_all(store, NOON)
    assert await messages(store) == ["case.broken"]
    await change(store, webhook, enabled=False)
    assert await plan_all(store, MIDNIGHT) == 0
    await change(store, webhook, enabled=True)
    await plan_all(store, MIDNIGHT + HOUR)
    assert await messages(store) == ["case.broken", "webhook.summary"]


async def test_paused_webhook_is_planned_and_its_messages_wait_like_other_deliveries(store: Store) -> None:
    await add_slack(store)
    await store.pool.execute("UPDATE webhooks SET paused_until = now() + interval '1 hour', failures = 5")
    await publish(store, ["case_1"])
    await plan_all(store)
    assert await store.pool.fetchval("SELECT status FROM deliveries") == "pending"


async def test_deleted_webhook_loses_its_notices(store: Store) -> None:
    webhook = await add_slack(store)
    await publish(store, ["case_1", "case_1"])
    async with store.pool.acquire() as connection:
        await delete_webhook(connection, WebhookRef(ORG, webhook.webhook_id))
    assert await plan_all(store, NOON) == 0
    while await remove_deleted(store.pool):
        pass
    assert await store.pool.fetchval("SELECT (SELECT count(*) FROM notices) + (SELECT count(*) FROM webhooks)") == 0


async def test_webhook_that_becomes_a_standard_one_gets_the_notices_that_wait(store: Store) -> None:
    webhook = await add_slack(store)
    await publish(store, ["case_1", "case_1"])
    await change(store, webhook, format="standard")
    await publish(store, ["case_2"])
    await plan_all(store, NOON)
    await plan_all(store, MIDNIGHT)
    assert await messages(store) == ["case.broken", "case.broken", "webhook.summary"]


async def test_recovery_plans_missed_and_exhausted_notices_again_within_the_limit(store: Store) -> None:
    webhook = await add_slack(store)
    first = await publish(store, [f"case_{number}" for number in range(25)])
    await plan_all(store, NOON)
    await plan_all(store, NOON + HOUR)  # 20 messages and a summary
    await store.pool.execute("UPDATE deliveries SET status = 'delivered', due_at = NULL WHERE event_id = $1", first[0])
    await change(store, webhook, enabled=False)
    while await exhaust_disabled(store.pool):
        pass
    missed = await publish(store, ["case_25"])
    await change(store, webhook, enabled=True)
    async with store.pool.acquire() as connection:
        await request_recovery(connection, WebhookRef(ORG, webhook.webhook_id), datetime(2020, 1, 1, tzinfo=UTC))
    while await recover_missed(store.pool):
        pass
    waiting = {event_id for event_id, is_due, _ in await notices(store) if is_due}
    assert waiting == {*first[1:], *missed}
    assert await store.pool.fetchval("SELECT recovered FROM recoveries") == 25
    await plan_all(store, NOON + 2 * HOUR)
    assert await store.pool.fetchval("SELECT count(*) FROM deliveries WHERE status = 'pending'") == 20
    await plan_all(store, NOON + 3 * HOUR)
    assert [summary["total"] for summary in await summaries(store)] == [5, 5]
    assert not [notice for notice in await notices(store) if notice[1]]


async def test_expired_events_take_their_notices_with_them(store: Store) -> None:
    await add_slack(store)
    [event_id] = await publish(store, ["case_1"])
    old = "evt_000000000001" + event_id[16:]
    await store.pool.execute("UPDATE events SET event_id = $1, number = 1", old)
    await store.pool.execute("UPDATE notices SET event_id = $1", old)
    await publish(store, ["case_2"])
    await cleanup.delete_expired_events(store.pool)
    assert [notice[0] for notice in await notices(store)] != [old]
    assert len(await notices(store)) == 1


async def test_concurrent_plans_create_no_message_twice(store: Store) -> None:
    for _ in range(3):
        await add_slack(store)
    for _ in range(5):
        await publish(store, [f"case_{number}" for number in range(15)])
        await asyncio.gather(*(plan_all(store, NOON) for _ in range(4)))
    counts = await store.pool.fetch("SELECT count(*) FROM deliveries GROUP BY webhook_id")
    assert [row["count"] for row in counts] == [15, 15, 15]
    assert await store.pool.fetchval("SELECT count(*) FROM notices WHERE due_at IS NULL") == 45


async def test_webhook_that_is_being_planned_is_skipped(store: Store) -> None:
    await add_slack(store)
    await publish(store, ["case_1"])
    async with store.pool.acquire() as connection, connection.transaction():
        assert await webhooks_store.lock_planned(connection, NOON)
        assert await plan_all(store, NOON) == 0
        await publish(store, ["case_2"])  # doesn't wait for the plan
    await plan_all(store, NOON)
    assert await messages(store) == ["case.broken", "case.broken"]


@pytest.mark.parametrize("step", ["lock_planned", "read_clock", "plan", "summarize", "find_events", "insert_test"])
async def test_crash_of_a_plan_neither_repeats_nor_drops_a_notice(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await add_slack(store)
    await publish(store, ["case_1", "case_1"])
    await plan_all(store, NOON)
    await publish(store, ["case_2"])
    before, execute = await notices(store), getattr(webhooks_store, step)

    async def crash(*values: Any) -> None:
        await execute(*values)
        raise ConnectionError("the process was killed")

    with monkeypatch.context() as patched:
        patched.setattr(webhooks_store, step, crash)
        with pytest.raises(ConnectionError):
            await planner.plan_notices(store.pool, LINK_BASE, None if step == "read_clock" else MIDNIGHT)
    assert await notices(store) == before
    await plan_all(store, MIDNIGHT)
    assert await messages(store) == ["case.broken", "case.broken", "webhook.summary"]


async def test_dispatcher_plans_and_posts_messages_with_a_signature(store: Store) -> None:
    async with receiving() as receiver, dispatching(store, 2):
        webhook = await add_slack(store, receiver.url)
        await publish(store, ["case_1"])

        async def has_received() -> bool:
            return bool(receiver.received)

        await until(has_received, "a message")
    row = await delivery(store, webhook)
    [posted] = receiver.received
    assert row["status"] == "delivered"
    assert posted.event["text"] == "Test is broken: test_case_1"
    assert posted.headers["webhook-id"] == row["event_id"]
    assert posted.headers["webhook-signature"]


async def test_notices_of_another_organization_are_separate(store: Store) -> None:
    await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('other', 'Other')")
    await add_slack(store, org_id=OrgId(2))
    await publish(store, ["case_1"])
    assert await notices(store) == []
