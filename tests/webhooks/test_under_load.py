"""A dead endpoint delays no other endpoint, and a killed dispatcher loses no delivery."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumers import webhooks
from service.database.database import Pool
from service.domain.ids import new_id
from service.webhooks.deliver_events import STEP, exhaust_disabled
from tests.fixtures.broker import until
from tests.receivers import Receiver, misbehaving, never_respond, receiving
from tests.run_events import run_event
from tests.stored import Store
from tests.webhooks.dispatching import add_webhook, dispatching, insert_due

pytestmark = pytest.mark.slow

MANY = 10_000
LONG_BACKLOG = 100_000
EVENTS_PER_ENDPOINT = 2_500
TIMEOUT_S = 120


async def deliver_runs(store: Store, receiver: Receiver, count: int) -> None:
    """Ingest runs one at a time, each after the arrival of the event of the previous one."""
    for number in range(count):
        arrived = len(receiver.received) + 1
        await store.ingest(run_event(f"run_{new_id('n')}_{number}"))
        await until(lambda: _is(len(receiver.received) >= arrived), "the event of the run", TIMEOUT_S)  # noqa: B023


@pytest.mark.parametrize("dead", ["hangs", "rejects"])
async def test_events_of_a_healthy_endpoint_wait_for_no_attempt_of_a_dead_one(store: Store, dead: str) -> None:
    """If events waited for attempts of the dead endpoint, their arrivals would require hundreds of these attempts."""
    async with receiving() as healthy, dead_endpoint(dead) as dead_url:
        await add_webhook(store, healthy.url)
        dead_webhook = await add_webhook(store, dead_url, ("export.completed",))
        await insert_due(store, dead_webhook, MANY)
        async with dispatching(store):
            await deliver_runs(store, healthy, 180)
            attempts = await store.pool.fetchval(
                "SELECT coalesce(sum(jsonb_array_length(attempt_log)), 0) FROM deliveries WHERE webhook_id = $1",
                dead_webhook.webhook_id,
            )
    assert attempts < MANY * 0.01


async def test_events_arrive_between_the_steps_that_end_the_backlog_of_a_gone_endpoint(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    async def exhaust_and_deliver(pool: Pool) -> bool:
        nonlocal steps
        is_more_due = await exhaust_disabled(pool)
        if is_more_due:
            steps += 1
            await deliver_runs(store, healthy, 1)
        return is_more_due

    monkeypatch.setitem(webhooks._STEPS, "disabled_webhooks", exhaust_and_deliver)
    async with receiving(410) as gone, receiving() as healthy:
        await add_webhook(store, healthy.url, ("run.completed",))
        await insert_due(store, await add_webhook(store, gone.url, ("export.completed",)), LONG_BACKLOG)
        async with dispatching(store):
            await until(lambda: is_nothing_due(store), "the end of the backlog", TIMEOUT_S)
    assert LONG_BACKLOG // STEP - 2 <= steps <= LONG_BACKLOG // STEP
    assert len(gone.received) < LONG_BACKLOG * 0.01


@asynccontextmanager
async def dead_endpoint(behavior: str) -> AsyncIterator[str]:
    if behavior == "rejects":
        yield "http://127.0.0.1:9/hook"
        return
    async with misbehaving(never_respond) as url:
        yield url


async def test_killed_dispatchers_lose_no_delivery_and_repeat_few(store: Store, database_url: str) -> None:
    async with receiving(delay_s=0.002) as first, receiving(delay_s=0.002) as second:
        for receiver in (first, second):
            await insert_due(store, await add_webhook(store, receiver.url, ("export.completed",)), EVENTS_PER_ENDPOINT)
        for share in (0.2, 0.4, 0.6):
            process = await start_dispatcher(database_url)
            target = share * EVENTS_PER_ENDPOINT
            await until(lambda: _is(len(first.event_ids()) > target), f"{target} events", TIMEOUT_S)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await expire_leases(store)
        process = await start_dispatcher(database_url)
        await until(
            lambda: _is(len(first.event_ids()) == len(second.event_ids()) == EVENTS_PER_ENDPOINT),
            "all events",
            TIMEOUT_S,
        )
        await until(lambda: is_nothing_due(store), "the last records", TIMEOUT_S)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    for receiver in (first, second):
        repeated = len(receiver.received) - EVENTS_PER_ENDPOINT
        print(f"{EVENTS_PER_ENDPOINT} events arrived, {repeated} of them twice after a kill")
        assert repeated < 3 * 200  # only attempts in progress are repeated, not recorded ones
    states = await store.pool.fetch("SELECT status, count(*) FROM deliveries GROUP BY status")
    assert [tuple(row) for row in states] == [("delivered", 2 * EVENTS_PER_ENDPOINT)]


async def start_dispatcher(database_url: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "RESULTS_DATABASE_URL": database_url, "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true"}
    command = (sys.executable, "-m", "consumers", "webhooks")
    return await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)


async def expire_leases(store: Store) -> None:
    await store.pool.execute("UPDATE deliveries SET due_at = now() WHERE claim IS NOT NULL AND due_at IS NOT NULL")


async def is_nothing_due(store: Store) -> Any:
    return await store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM deliveries WHERE due_at IS NOT NULL)")


async def _is(value: object) -> bool:
    return bool(value)
