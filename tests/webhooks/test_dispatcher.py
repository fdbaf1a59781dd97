"""The dispatcher delivers signed events to all kinds of endpoints, and limits its attempts."""

import asyncio
import dataclasses
import hmac
import resource
from contextlib import AsyncExitStack
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from consumers import webhooks
from consumers.roles import ROLES, RoleContext
from consumers.topology import Topology
from service.domain.ids import OrgId
from service.organizations import store as organizations_store
from service.outbound.webhooks import WebhookClient
from service.settings import Settings
from service.version import user_agent
from service.webhooks.deliver_events import AttemptedDelivery, lease_deliveries, record_attempts
from service.webhooks.model import AttemptOutcome, DeliveryStatus
from service.webhooks.operations import WebhookRef, rotate_secret
from tests.fixtures.broker import until
from tests.receivers import (
    Misbehavior,
    close_mid_response,
    misbehaving,
    never_respond,
    receiving,
    respond_slowly,
    respond_without_end,
)
from tests.run_events import result, run_event
from tests.stored import Store
from tests.webhooks.dispatching import (
    PLAIN,
    POLICY,
    add_webhook,
    attempted,
    delivery,
    dispatching,
    event_objects,
    insert_due,
    make_due,
)


async def test_completed_run_is_posted_in_the_envelope(store: Store) -> None:
    async with receiving() as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event("run_7"))
        row = await attempted(store, webhook)
    [posted] = receiver.received
    assert posted.event["id"] == row["event_id"] == posted.headers["webhook-id"]
    assert posted.event["type"] == "run.completed"
    assert posted.event["created"].endswith("Z")
    assert posted.event["data"]["object"]["run_id"] == "run_7"
    assert posted.headers["Content-Type"] == "application/json"
    assert posted.headers["User-Agent"] == f"zof-results-webhooks/1 {user_agent()}"
    assert "Accept-Encoding" not in posted.headers
    assert (row["status"], row["due_at"]) == ("delivered", None)
    [attempt] = row["attempt_log"]
    assert (attempt["status"], attempt["response"], attempt["error"]) == (200, "thanks", None)


async def test_receiver_can_verify_with_the_official_package_and_the_zof_header(store: Store) -> None:
    async with receiving() as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event())
        await attempted(store, webhook)
    [posted] = receiver.received
    headers = dict(posted.headers)
    assert Webhook(webhook.secret).verify(posted.body, headers) == posted.event
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.secret).verify(posted.body + b" ", headers)
    zof = hmac.digest(webhook.secret.encode(), posted.body, "sha256").hex()
    assert posted.headers["X-Zof-Signature"] == zof


async def test_both_secrets_sign_during_a_rotation(store: Store) -> None:
    async with receiving() as receiver:
        webhook = await add_webhook(store, receiver.url)
        async with store.pool.acquire() as connection:
            new_secret = await rotate_secret(connection, PLAIN, WebhookRef(OrgId(1), webhook.webhook_id))
        async with dispatching(store):
            await store.ingest(run_event())
            await attempted(store, webhook)
        for secret in (webhook.secret, new_secret):
            Webhook(secret).verify(receiver.received[0].body, dict(receiver.received[0].headers))
        await store.pool.execute("UPDATE webhooks SET previous_expires_at = now()")
        async with dispatching(store):
            await store.ingest(run_event("run_2"))
            await until(lambda: _is(len(receiver.received) == 2), "the second event")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.secret).verify(receiver.received[1].body, dict(receiver.received[1].headers))


async def test_failed_delivery_is_retried_with_the_same_id(store: Store) -> None:
    async with receiving(500, 200) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event())
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


async def test_internal_error_is_a_failed_attempt_and_is_retried(store: Store) -> None:
    async def crash(*_: object) -> AttemptOutcome:
        raise KeyError("a bug")

    async with receiving() as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(WebhookClient, "post", crash)
            await store.ingest(run_event())
            row = await attempted(store, webhook)
        assert (row["status"], row["attempt_count"]) == ("pending", 1)
        assert 3.5 < row["due_in_s"] < 6.1
        await make_due(store)
        row = await attempted(store, webhook, 2)
    assert row["status"] == "delivered"
    assert [attempt["error"] for attempt in row["attempt_log"]] == ["internal error of this service", None]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_postpones_the_retry(store: Store, status: int) -> None:
    async with receiving(status, response_headers={"Retry-After": "120"}) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event())
        row = await attempted(store, webhook)
    assert 115 < row["due_in_s"] <= 120


async def test_redirect_is_a_failure_and_is_not_followed(store: Store) -> None:
    metadata = "http://169.254.169.254/latest/meta-data/"
    async with receiving() as target, receiving(301, response_headers={"Location": metadata}) as receiver:
        async with dispatching(store):
            webhook = await add_webhook(store, receiver.url)
            await store.ingest(run_event())
            row = await attempted(store, webhook)
        receiver.response_headers = {"Location": target.url}
        async with dispatching(store):
            await make_due(store)
            await attempted(store, webhook, 2)
    assert row["attempt_log"][0]["status"] == 301
    assert row["attempt_log"][0]["error"] == f"redirects aren't followed, and the endpoint redirects to {metadata}"
    assert row["status"] == "pending"
    assert target.received == []


async def test_410_response_disables_the_webhook_and_publishes_an_event(store: Store) -> None:
    async with receiving(410) as receiver, receiving() as watcher, dispatching(store):
        webhook = await add_webhook(store, receiver.url, ("run.completed",))
        await add_webhook(store, watcher.url, ("webhook.disabled",))
        await store.ingest(run_event())
        await until(lambda: _is(watcher.received), "webhook.disabled")
        await store.ingest(run_event("run_2"))
        row = await delivery(store, webhook)
    assert row["status"] == "exhausted"
    assert len(receiver.received) == 1
    webhook_object = watcher.received[0].event["data"]["object"]
    assert (webhook_object["webhook_id"], webhook_object["reason"]) == (webhook.webhook_id, "gone")
    hook = await store.pool.fetchrow("SELECT enabled, disabled_reason FROM webhooks WHERE url = $1", receiver.url)
    assert tuple(hook or ()) == (False, "gone")


async def test_endpoint_that_fails_for_five_days_is_disabled(store: Store) -> None:
    async with receiving(500) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event())
        await attempted(store, webhook)
        assert not await event_objects(store, "webhook.disabled")
        await store.pool.execute("UPDATE webhooks SET failing_since = now() - interval '5 days 1 minute'")
        await make_due(store)
        await attempted(store, webhook, 2)
    [webhook_object] = await event_objects(store, "webhook.disabled")
    assert webhook_object["reason"] == "failing"
    assert (await delivery(store, webhook))["status"] == "exhausted"


async def test_delivery_is_exhausted_after_the_last_attempt(store: Store) -> None:
    async with receiving(500) as receiver, dispatching(store):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event())
        await attempted(store, webhook)
        await store.pool.execute("UPDATE deliveries SET attempt_count = 9")
        await make_due(store)
        row = await attempted(store, webhook, 2)
    assert (row["status"], row["due_at"]) == ("exhausted", None)


async def test_endless_response_is_truncated(store: Store) -> None:
    async with misbehaving(respond_without_end) as url, dispatching(store):
        webhook = await add_webhook(store, url)
        await store.ingest(run_event())
        row = await attempted(store, webhook)
    assert row["status"] == "delivered"
    assert len(row["attempt_log"][0]["response"]) == 1_000


async def test_incomplete_response_is_a_failure(store: Store) -> None:
    async with misbehaving(close_mid_response) as url, dispatching(store):
        webhook = await add_webhook(store, url)
        await store.ingest(run_event())
        row = await attempted(store, webhook)
    assert row["status"] == "pending"
    assert row["attempt_log"][0]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("misbehavior", [never_respond, respond_slowly])
async def test_attempt_times_out_after_fifteen_seconds(store: Store, misbehavior: Misbehavior) -> None:
    async with misbehaving(misbehavior) as url, dispatching(store):
        webhook = await add_webhook(store, url)
        await store.ingest(run_event())
        row = await attempted(store, webhook)
    [attempt] = row["attempt_log"]
    assert "15 s" in attempt["error"]
    assert 14_900 < attempt["latency_ms"] < 17_000


async def test_private_address_is_rejected_at_connect_time(store: Store) -> None:
    async with dispatching(store):
        webhook = await add_webhook(store, "http://169.254.169.254/latest")
        await store.ingest(run_event())
        row = await attempted(store, webhook)
    assert "not a public address" in row["attempt_log"][0]["error"]


@pytest.mark.slow
async def test_five_consecutive_failures_open_the_circuit_breaker(store: Store) -> None:
    async with receiving(500) as receiver, dispatching(store):
        await add_webhook(store, receiver.url)
        await store.ingest(*(run_event(f"run_{number}") for number in range(40)))
        await asyncio.sleep(2)
        assert 5 <= len(receiver.received) <= 12
        receiver.statuses = [200]
        await make_due(store)
        await until(lambda: _is(len(receiver.event_ids()) == 40), "all events")


async def test_policy_sets_the_schedule_and_the_circuit_breaker(store: Store) -> None:
    policy = dataclasses.replace(
        POLICY, retry_delays_s=(60.0,), jitter=0, breaker_failures=1, breaker_min_pause_s=1000, breaker_max_pause_s=2000
    )
    async with receiving(500) as receiver, dispatching(store, policy=policy):
        webhook = await add_webhook(store, receiver.url)
        await store.ingest(run_event())
        row = await attempted(store, webhook)
        assert 59 < row["due_in_s"] <= 60
        pause_s = await store.pool.fetchval(
            "SELECT extract(epoch FROM paused_until - now())::float8 FROM webhooks WHERE webhook_id = $1",
            webhook.webhook_id,
        )
        assert 995 < pause_s <= 1000
        await make_due(store)
        row = await attempted(store, webhook, 2)
    assert (row["status"], row["due_at"]) == ("exhausted", None)


async def test_endpoint_gets_few_concurrent_posts_until_it_has_responded_well(store: Store) -> None:
    async with receiving(delay_s=0.3) as receiver:
        await add_webhook(store, receiver.url)
        await store.ingest(*(run_event(f"run_{number}") for number in range(30)))
        async with dispatching(store):
            await asyncio.sleep(0.25)
            assert 0 < receiver.max_concurrent <= 4
            await until(lambda: _is(len(receiver.received) == 30), "all events")
    assert 4 < receiver.max_concurrent < 30


async def test_connections_are_reused(store: Store) -> None:
    async with receiving() as receiver, dispatching(store):
        await add_webhook(store, receiver.url)
        for number in range(20):
            await store.ingest(run_event(f"run_{number}"))
        await until(lambda: _is(len(receiver.received) == 20), "all events")
    assert len(receiver.connections) <= 10, "more connections than the concurrency limit requires"


async def test_concurrent_dispatchers_post_each_event_once(store: Store) -> None:
    async with receiving() as receiver:
        await add_webhook(store, receiver.url)
        await store.ingest(*(run_event(f"run_{number}", [result()]) for number in range(200)))
        async with dispatching(store, 3):
            await until(lambda: _is(len(receiver.event_ids()) == 200), "all events")
    assert len(receiver.received) == 200


async def test_stop_finishes_and_records_attempts_in_progress(store: Store) -> None:
    async with receiving(delay_s=0.5) as receiver:
        webhook = await add_webhook(store, receiver.url)
        async with dispatching(store):
            await store.ingest(run_event())
            await until(lambda: _is(receiver.received), "the post")
    assert (await delivery(store, webhook))["status"] == "delivered"


async def test_dispatcher_can_have_more_connections_than_the_soft_limit_of_file_descriptors(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        async with AsyncExitStack() as opened:
            await ROLES["webhooks"](RoleContext(Settings(), store.pool, Topology(), asyncio.Event(), opened))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_attempts_wait_until_outcomes_are_recorded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash repeats the deliveries whose outcomes aren't recorded."""
    can_record = asyncio.Event()

    async def record_later(*arguments: Any) -> list[DeliveryStatus]:
        await can_record.wait()
        return await record_attempts(*arguments)

    monkeypatch.setattr(webhooks, "record_attempts", record_later)
    async with receiving() as receiver:
        webhook = await add_webhook(store, receiver.url, ("export.completed",))
        await insert_due(store, webhook, 900)
        async with dispatching(store):
            await until(lambda: _is(len(receiver.received) > 300), "the first attempts")
            await asyncio.sleep(0.3)
            assert len(receiver.received) < 300 + 2 * POLICY.max_concurrency
            can_record.set()
            await until(lambda: _is(len(receiver.event_ids()) == 900), "all events")


async def test_leased_deliveries_of_one_event_share_its_body(store: Store) -> None:
    for _ in range(3):
        await add_webhook(store, "http://127.0.0.1:9/hook", ("run.completed",))
    await store.ingest(run_event("run_1"), run_event("run_2"))
    leased = await lease_deliveries(store.pool, None, {}, 10, POLICY)
    assert len(leased) == 6
    assert sorted({lease.event.body.count(b'"run_id":"run_1"') for lease in leased}) == [0, 1]
    assert len({id(lease.event) for lease in leased}) == 2


async def test_a_lease_of_one_organization_leaves_the_deliveries_of_others_due(store: Store) -> None:
    await add_webhook(store, "http://127.0.0.1:9/hook", ("run.completed",))
    async with store.pool.acquire() as connection:
        other = await organizations_store.create(connection, "other", "Other")
    await add_webhook(store, "http://127.0.0.1:9/hook", ("run.completed",), org_id=other)
    await store.ingest(run_event("run_1"), run_event("run_2", organization="other"))
    [leased] = await lease_deliveries(store.pool, other, {}, 10, POLICY)
    assert leased.org_id == other
    [leased] = await lease_deliveries(store.pool, None, {leased.endpoint: 1}, 10, POLICY)
    assert leased.org_id == OrgId(1)


async def test_a_lease_of_one_organization_takes_only_open_endpoints(store: Store) -> None:
    webhook = await add_webhook(store, "http://127.0.0.1:9/hook", ("run.completed",))
    await store.ingest(run_event("run_1"), run_event("run_2"))
    for closed in ("enabled = false", "enabled = true, paused_until = now() + interval '1 hour'"):
        await store.pool.execute(f"UPDATE webhooks SET {closed}")
        assert await lease_deliveries(store.pool, OrgId(1), {}, 10, POLICY) == []
    half_open = "UPDATE webhooks SET paused_until = now(), failures = $1"
    await store.pool.execute(half_open, POLICY.breaker_failures)
    [leased] = await lease_deliveries(store.pool, OrgId(1), {}, 10, POLICY)
    assert leased.webhook_id == webhook.webhook_id


async def test_expired_lease_writes_nothing(store: Store) -> None:
    webhook = await add_webhook(store, "http://127.0.0.1:9/hook")
    await store.ingest(run_event())
    [expired] = await lease_deliveries(store.pool, None, {}, 10, POLICY)
    assert await lease_deliveries(store.pool, None, {}, 10, POLICY) == []
    await store.pool.execute("UPDATE deliveries SET due_at = now()")  # as after the end of the lease
    [current] = await lease_deliveries(store.pool, None, {}, 10, POLICY)
    outcome = AttemptOutcome(200, 1)
    await record_attempts(store.pool, [AttemptedDelivery(expired, expired.event.created_at, outcome)], POLICY)
    assert (await delivery(store, webhook))["attempt_log"] == []
    await record_attempts(store.pool, [AttemptedDelivery(current, current.event.created_at, outcome)], POLICY)
    assert (await delivery(store, webhook))["status"] == "delivered"


async def _is(value: object) -> bool:
    return bool(value)
