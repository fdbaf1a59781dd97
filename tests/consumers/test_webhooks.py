"""Events reach endpoints, signed, whatever the endpoints do; nothing is tried more than it should be."""

import asyncio
import hmac

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from service.domain.deliveries import AttemptOutcome
from service.domain.ids import OrgId
from service.outbound.webhooks import WebhookClient
from service.usecases.webhooks.deliver_events import AttemptedDelivery, claim_deliveries, record_attempts
from service.usecases.webhooks.manage_webhooks import WebhookRef, rotate_secret
from tests.consumers.conftest import until
from tests.consumers.dispatching import add_webhook, attempted, delivery, dispatching, make_due, told
from tests.receivers import (
    Misbehave,
    dribble,
    hang_up_in_the_middle,
    misbehaving,
    receiving,
    say_nothing,
    talk_without_end,
)
from tests.run_events import result, run_event
from tests.stored import Store


async def test_a_completed_run_is_posted_in_the_envelope(store: Store) -> None:
    async with receiving() as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.take(run_event("run_7"))
        row = await attempted(store, webhook)
    [posted] = receiver.received
    assert posted.event["id"] == row["event_id"] == posted.headers["webhook-id"]
    assert posted.event["type"] == "run.completed"
    assert posted.event["created"].endswith("Z")
    assert posted.event["data"]["object"]["run_id"] == "run_7"
    assert posted.headers["Content-Type"] == "application/json"
    assert (row["status"], row["due_at"]) == ("delivered", None)
    [attempt] = row["attempt_log"]
    assert (attempt["status"], attempt["response"], attempt["error"]) == (200, "thanks", None)


async def test_receivers_verify_with_the_official_package_and_by_the_zof_header(store: Store) -> None:
    async with receiving() as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.take(run_event())
        await attempted(store, webhook)
    [posted] = receiver.received
    headers = dict(posted.headers)
    assert Webhook(webhook.secret).verify(posted.body, headers) == posted.event
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.secret).verify(posted.body + b" ", headers)
    zof = hmac.digest(webhook.secret.encode(), posted.body, "sha256").hex()
    assert posted.headers["X-Zof-Signature"] == zof


async def test_both_secrets_sign_while_one_replaces_the_other(store: Store) -> None:
    async with receiving() as receiver:
        webhook = await add_webhook(store, receiver.url)
        async with store.pool.acquire() as connection:
            renewed = await rotate_secret(connection, WebhookRef(OrgId(1), webhook.webhook_id))
        async with dispatching(store):
            await store.take(run_event())
            await attempted(store, webhook)
        for secret in (webhook.secret, renewed):
            Webhook(secret).verify(receiver.received[0].body, dict(receiver.received[0].headers))
        await store.pool.execute("UPDATE webhooks SET previous_expires_at = now()")
        async with dispatching(store):
            await store.take(run_event("run_2"))
            await until(lambda: _is(len(receiver.received) == 2), "the second event")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.secret).verify(receiver.received[1].body, dict(receiver.received[1].headers))


async def test_what_failed_comes_again_under_the_same_id(store: Store) -> None:
    async with receiving(500, 200) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.take(run_event())
        row = await attempted(store, webhook)
        assert row["status"] == "pending"
        assert 3.5 < row["due_in_s"] < 6.1
        await make_due(store)
        row = await attempted(store, webhook, 2)
    assert row["status"] == "delivered"
    assert [attempt["status"] for attempt in row["attempt_log"]] == [500, 200]
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_what_breaks_on_our_side_is_a_failed_attempt_and_comes_again(store: Store) -> None:
    async def break_down(*_: object) -> AttemptOutcome:
        raise KeyError("a bug")

    async with receiving() as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WebhookClient, "post", break_down)
            await store.take(run_event())
            row = await attempted(store, webhook)
        assert (row["status"], row["attempt_count"]) == ("pending", 1)
        assert 3.5 < row["due_in_s"] < 6.1
        await make_due(store)
        row = await attempted(store, webhook, 2)
    assert row["status"] == "delivered"
    assert [attempt["error"] for attempt in row["attempt_log"]] == ["something went wrong on our side", None]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_receiver_says_when_to_come_again(store: Store, status: int) -> None:
    async with receiving(status, answer_headers={"Retry-After": "120"}) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.take(run_event())
        row = await attempted(store, webhook)
    assert 115 < row["due_in_s"] <= 120


async def test_a_redirect_is_a_failure_and_never_followed(store: Store) -> None:
    metadata = "http://169.254.169.254/latest/meta-data/"
    async with receiving() as other, receiving(301, answer_headers={"Location": metadata}) as receiver:
        async with dispatching(store):
            webhook = await add_webhook(store, receiver.url)
            await store.take(run_event())
            row = await attempted(store, webhook)
        receiver.answer_headers = {"Location": other.url}
        async with dispatching(store):
            await make_due(store)
            await attempted(store, webhook, 2)
    assert row["attempt_log"][0]["status"] == 301
    assert row["status"] == "pending"
    assert other.received == []


async def test_a_receiver_that_is_gone_is_left_alone_and_its_owner_told(store: Store) -> None:
    async with receiving(410) as receiver, receiving() as watcher, dispatching(store):
        webhook = await add_webhook(store, receiver.url, ("run.completed",))
        await add_webhook(store, watcher.url, ("webhook.disabled",))
        await store.take(run_event())
        await until(lambda: _is(watcher.received), "webhook.disabled")
        await store.take(run_event("run_2"))
        row = await delivery(store, webhook)
    assert row["status"] == "exhausted"
    assert len(receiver.received) == 1
    told_of = watcher.received[0].event["data"]["object"]
    assert (told_of["webhook_id"], told_of["reason"]) == (webhook.webhook_id, "gone")
    hook = await store.pool.fetchrow("SELECT enabled, disabled_reason FROM webhooks WHERE url = $1", receiver.url)
    assert tuple(hook or ()) == (False, "gone")


async def test_an_endpoint_that_fails_for_five_days_is_disabled(store: Store) -> None:
    async with receiving(500) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.take(run_event())
        await attempted(store, webhook)
        assert not await told(store, "webhook.disabled")
        await store.pool.execute("UPDATE webhooks SET failing_since = now() - interval '5 days 1 minute'")
        await make_due(store)
        await attempted(store, webhook, 2)
    [said] = await told(store, "webhook.disabled")
    assert said["reason"] == "failing"
    assert (await delivery(store, webhook))["status"] == "exhausted"


async def test_the_last_try_is_the_last(store: Store) -> None:
    async with receiving(500) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.take(run_event())
        await attempted(store, webhook)
        await store.pool.execute("UPDATE deliveries SET attempt_count = 9")
        await make_due(store)
        row = await attempted(store, webhook, 2)
    assert (row["status"], row["due_at"]) == ("exhausted", None)


async def test_an_endless_answer_is_cut(store: Store) -> None:
    async with misbehaving(talk_without_end) as url, dispatching(store):
        webhook = await add_webhook(store, url)
        await store.take(run_event())
        row = await attempted(store, webhook)
    assert row["status"] == "delivered"
    assert len(row["attempt_log"][0]["response"]) == 1_000


async def test_an_answer_that_ends_in_the_middle_is_a_failure(store: Store) -> None:
    async with misbehaving(hang_up_in_the_middle) as url, dispatching(store):
        webhook = await add_webhook(store, url)
        await store.take(run_event())
        row = await attempted(store, webhook)
    assert row["status"] == "pending"
    assert row["attempt_log"][0]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("behave", [say_nothing, dribble])
async def test_an_attempt_ends_after_fifteen_seconds(store: Store, behave: Misbehave) -> None:
    async with misbehaving(behave) as url, dispatching(store):
        webhook = await add_webhook(store, url)
        await store.take(run_event())
        row = await attempted(store, webhook)
    [attempt] = row["attempt_log"]
    assert "15 s" in attempt["error"]
    assert 14_900 < attempt["latency_ms"] < 17_000


async def test_an_address_that_is_not_public_is_refused_when_it_is_connected_to(store: Store) -> None:
    async with dispatching(store):
        webhook = await add_webhook(store, "http://169.254.169.254/latest")
        await store.take(run_event())
        row = await attempted(store, webhook)
    assert "not a public address" in row["attempt_log"][0]["error"]


async def test_five_failures_in_a_row_open_the_breaker(store: Store) -> None:
    async with receiving(500) as receiver, dispatching(store):
        await add_webhook(store, receiver.url)
        await store.take(*(run_event(f"run_{number}") for number in range(40)))
        await asyncio.sleep(2)
        assert 5 <= len(receiver.received) <= 12
        receiver.statuses = [200]
        await make_due(store)
        await until(lambda: _is(len(receiver.event_ids()) == 40), "all events")


async def test_an_endpoint_gets_few_posts_at_once_until_it_has_proved_itself(store: Store) -> None:
    async with receiving(delay_s=0.3) as receiver:
        await add_webhook(store, receiver.url)
        await store.take(*(run_event(f"run_{number}") for number in range(30)))
        async with dispatching(store):
            await asyncio.sleep(0.25)
            assert 0 < receiver.most_at_once <= 4
            await until(lambda: _is(len(receiver.received) == 30), "all events")
    assert 4 < receiver.most_at_once < 30


async def test_connections_are_used_again(store: Store) -> None:
    async with receiving() as receiver, dispatching(store):
        await add_webhook(store, receiver.url)
        for number in range(20):
            await store.take(run_event(f"run_{number}"))
        await until(lambda: _is(len(receiver.received) == 20), "all events")
    assert len(receiver.connections) <= 10, "as many posts at once as the window has grown to, and no more"


async def test_many_dispatchers_post_each_event_once(store: Store) -> None:
    async with receiving() as receiver:
        await add_webhook(store, receiver.url)
        await store.take(*(run_event(f"run_{number}", [result()]) for number in range(200)))
        async with dispatching(store, 3):
            await until(lambda: _is(len(receiver.event_ids()) == 200), "all events")
    assert len(receiver.received) == 200


async def test_a_stop_finishes_and_records_what_is_under_way(store: Store) -> None:
    async with receiving(delay_s=0.5) as receiver:
        webhook = await add_webhook(store, receiver.url)
        async with dispatching(store):
            await store.take(run_event())
            await until(lambda: _is(receiver.received), "the post")
    assert (await delivery(store, webhook))["status"] == "delivered"


async def test_a_claim_that_ran_out_writes_nothing(store: Store) -> None:
    webhook = await add_webhook(store, "http://127.0.0.1:9/hook")
    await store.take(run_event())
    [ours] = await claim_deliveries(store.pool, {}, 10)
    assert await claim_deliveries(store.pool, {}, 10) == []
    await store.pool.execute("UPDATE deliveries SET due_at = now()")  # as when the lease is over
    [theirs] = await claim_deliveries(store.pool, {}, 10)
    answer = AttemptOutcome(200, 1)
    await record_attempts(store.pool, [AttemptedDelivery(ours, ours.created_at, answer)])
    assert (await delivery(store, webhook))["attempt_log"] == []
    await record_attempts(store.pool, [AttemptedDelivery(theirs, theirs.created_at, answer)])
    assert (await delivery(store, webhook))["status"] == "delivered"


async def _is(value: object) -> bool:
    return bool(value)
