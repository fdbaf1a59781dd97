"""A dead endpoint delays nobody, and the death of a dispatcher loses nothing."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.domain.ids import OrgId, new_id
from service.usecases.webhooks.manage_webhooks import NewWebhook
from tests.consumers.conftest import until
from tests.consumers.dispatching import add_webhook, dispatching
from tests.receivers import Receiver, misbehaving, never_respond, receiving
from tests.run_events import run_event
from tests.stored import Store

pytestmark = pytest.mark.slow

MANY = 10_000
HALF = 2_500
PATIENCE_S = 120


async def owe(store: Store, webhook: NewWebhook, count: int) -> None:
    """Makes so many events, each due at this webhook."""
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


async def latencies_ms(store: Store, receiver: Receiver, count: int) -> list[float]:
    """From the commit of each run to its arrival, one after the other, sorted."""
    taken = []
    for number in range(count):
        before = len(receiver.received)
        begun = time.perf_counter()
        await store.take(run_event(f"run_{new_id('n')}_{number}"))
        async with asyncio.timeout(PATIENCE_S):
            while len(receiver.received) == before:  # noqa: ASYNC110 - the measure is the arrival itself
                await asyncio.sleep(0.001)
        taken.append((time.perf_counter() - begun) * 1000)
    return sorted(taken)


@pytest.mark.parametrize("dead", ["hangs", "refuses"])
async def test_a_healthy_endpoint_is_as_fast_beside_a_dead_one(store: Store, dead: str) -> None:
    async with receiving() as healthy, dead_endpoint(dead) as dead_url:
        await add_webhook(store, healthy.url)
        async with dispatching(store):
            await latencies_ms(store, healthy, 30)
            alone = await latencies_ms(store, healthy, 150)
        owed = await add_webhook(store, dead_url, ("export.completed",))
        await owe(store, owed, MANY)
        async with dispatching(store):
            await latencies_ms(store, healthy, 30)
            beside = await latencies_ms(store, healthy, 150)
            p99, p99_beside = alone[-2], beside[-2]
            print(
                f"p50 {alone[75]:.1f} and {beside[75]:.1f} ms, p99 {p99:.1f} and {p99_beside:.1f} ms beside a dead one"
            )
            waiting = await store.pool.fetchval(
                "SELECT count(*) FROM deliveries WHERE webhook_id = $1 AND due_at IS NOT NULL", owed.webhook_id
            )
    assert waiting > MANY * 0.99
    assert beside[75] <= alone[75] * 1.5 + 10  # ms, which is what two busy cores differ by from run to run
    assert p99_beside <= p99 * 1.5 + 20


@asynccontextmanager
async def dead_endpoint(how: str) -> AsyncIterator[str]:
    if how == "refuses":
        yield "http://127.0.0.1:9/hook"
        return
    async with misbehaving(never_respond) as url:
        yield url


async def test_killed_dispatchers_lose_nothing_and_receivers_see_each_event_once(
    store: Store, database_url: str
) -> None:
    async with receiving(delay_s=0.002) as one, receiving(delay_s=0.002) as other:
        for receiver in (one, other):
            await owe(store, await add_webhook(store, receiver.url, ("export.completed",)), HALF)
        for share in (0.2, 0.4, 0.6):
            process = await start_dispatcher(database_url)
            wanted = share * HALF
            await until(lambda: _is(len(one.event_ids()) > wanted), f"{wanted} events", PATIENCE_S)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await let_leases_run_out(store)
        process = await start_dispatcher(database_url)
        await until(lambda: _is(len(one.event_ids()) == len(other.event_ids()) == HALF), "all events", PATIENCE_S)
        await until(lambda: nothing_is_due(store), "the last records", PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    for receiver in (one, other):
        repeated = len(receiver.received) - HALF
        print(f"{HALF} events arrived, {repeated} of them again after a kill")
        assert repeated < 3 * 200  # what was under way, not what was done
    states = await store.pool.fetch("SELECT status, count(*) FROM deliveries GROUP BY status")
    assert [tuple(row) for row in states] == [("delivered", 2 * HALF)]


async def start_dispatcher(database_url: str) -> asyncio.subprocess.Process:
    environment = {**os.environ, "RESULTS_DATABASE_URL": database_url, "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true"}
    command = (sys.executable, "-m", "consumers", "webhooks")
    return await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)


async def let_leases_run_out(store: Store) -> None:
    await store.pool.execute("UPDATE deliveries SET due_at = now() WHERE claim IS NOT NULL AND due_at IS NOT NULL")


async def nothing_is_due(store: Store) -> Any:
    return await store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM deliveries WHERE due_at IS NOT NULL)")


async def _is(value: object) -> bool:
    return bool(value)
