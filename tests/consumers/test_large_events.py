"""Large events have a queue of their own: they don't delay other events, and none is lost or stored twice."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from consumers.broker import run_on_broker
from consumers.consume_loop import BatchConsumer, MessageSizes
from consumers.messages import LARGE_BYTES, Delivery, HandlerOutcome, MessageHandler
from consumers.runs import runs_handler
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker, isolation, until
from tests.run_events import body, result, run_event
from tests.running import running
from tests.stored import Store

LARGE_EVENTS = 200
RESULTS = 2_500

KILLED_BEFORE_ACK = """
import os, sys
from consumers.deliveries import ReceivedMessage
async def crash(self, *, multiple=False):
    os.kill(os.getpid(), 9)
ReceivedMessage.ack = crash
from consumers.__main__ import main
sys.argv = ["consumers", "runs"]
main()
"""


def large_event(run_id: str) -> dict[str, Any]:
    """Return an event that is larger than the limit."""
    event = run_event(run_id, [result(f"behaves as specified, case {number} {'x' * 60}") for number in range(RESULTS)])
    assert len(body(event)) > LARGE_BYTES
    return event


@asynccontextmanager
async def consuming_sizes(
    broker: Broker, store: Store, handle: MessageHandler, sizes: Sequence[MessageSizes]
) -> AsyncIterator[None]:
    stopping, shared, queue = asyncio.Event(), isolation(store), broker.topology.runs_queue
    team = [BatchConsumer(broker.topology, queue, handle, shared, stopping, one) for one in sizes]
    async with running(stopping, run_on_broker(broker.url, broker.topology, team, stopping)):
        yield


async def count_runs(store: Store) -> int:
    return int(await store.pool.fetchval("SELECT count(*) FROM runs"))


async def has_runs(store: Store, count: int) -> bool:
    return await count_runs(store) == count


async def is_stored(store: Store, run_id: str) -> bool:
    return await store.run(run_id) is not None


async def are_empty(broker: Broker) -> bool:
    queue = broker.topology.runs_queue
    return await broker.depth(queue) + await broker.depth(broker.topology.large_queue(queue)) == 0


async def assert_stored_once(broker: Broker, store: Store, large_runs: int, small_runs: int = 0) -> None:
    results = large_runs * RESULTS + small_runs
    assert await store.pool.fetchval("SELECT count(*) FROM results") == results
    stored = await store.pool.fetchval("SELECT count(*) FROM receipts WHERE status = 'stored'")
    assert stored == large_runs + small_runs
    assert await store.pool.fetchval("SELECT count(*) FROM events WHERE type = 'run.completed'") == stored
    assert await broker.pop_dead_letters() == []
    await until(partial(are_empty, broker), "empty queues")


async def test_event_after_large_ones_is_stored_before_them(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.run_ingest)
    small_is_stored = asyncio.Event()

    async def handle_small_first(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        is_small = all(len(delivery.body) <= LARGE_BYTES for delivery in deliveries)
        if not is_small:
            await small_is_stored.wait()
        outcomes = await handle(deliveries)
        if is_small:
            small_is_stored.set()
        return outcomes

    await broker.publish(*(large_event(f"large_{number}") for number in range(3)), run_event("small", [result()]))
    async with consuming_sizes(broker, store, handle_small_first, ("small", "large")):
        await until(partial(has_runs, store, 4), "all runs")
    await assert_stored_once(broker, store, 3, 1)


async def test_event_in_a_batch_with_large_ones_is_stored_before_they_are_moved(broker: Broker, store: Store) -> None:
    handle, can_handle = runs_handler(store.run_ingest), asyncio.Event()
    queue, large_queue = broker.topology.runs_queue, broker.topology.large_queue(broker.topology.runs_queue)
    moved_earlier: list[int] = []

    async def handle_when_set(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        await can_handle.wait()
        moved_earlier.append(await broker.depth(large_queue))
        return await handle(deliveries)

    async def are_delivered() -> bool:
        return await broker.depth(queue) == 0

    async with consuming_sizes(broker, store, handle_when_set, ("small",)):
        can_handle.set()
        for count in (1, 2):  # the consumer prefetches several events after the first one
            await broker.publish(run_event(f"earlier_{count}"))
            await until(partial(has_runs, store, count), "the earlier run")
        can_handle.clear()
        for events in ([run_event("first")], [large_event("large"), run_event("small")]):
            await broker.publish(*events)
            await until(are_delivered, "a delivery of all events")
        can_handle.set()
        await until(partial(has_runs, store, 4), "the small runs")
    assert moved_earlier == [0, 0, 0, 0]
    assert await broker.depth(large_queue) == 1


@pytest.mark.slow
async def test_quiet_organization_is_stored_before_most_large_events_of_another(
    broker: Broker, store: Store, database_url: str
) -> None:
    await broker.publish(*(large_event(f"large_{number}") for number in range(LARGE_EVENTS)))
    await broker.publish(run_event("quiet", [result()]))
    with consumer(database_url, broker.url, broker.topology, "runs"):
        await until(partial(is_stored, store, "quiet"), "the small event", 120)
        earlier = await count_runs(store) - 1
        await until(partial(has_runs, store, LARGE_EVENTS + 1), "all runs", 300)
        await assert_stored_once(broker, store, LARGE_EVENTS, 1)
    print(f"{earlier} of {LARGE_EVENTS} large events were stored before the small event")
    assert earlier < LARGE_EVENTS / 2


@pytest.mark.slow
async def test_crash_between_the_move_and_the_ack_stores_each_event_once(
    broker: Broker, store: Store, database_url: str
) -> None:
    await broker.publish(*(large_event(f"large_{number}") for number in range(3)))
    with consumer(database_url, broker.url, broker.topology, script=KILLED_BEFORE_ACK) as process:
        assert await asyncio.to_thread(process.wait, 30) == -9

    async def are_in_both_queues() -> bool:
        queue = broker.topology.runs_queue
        return (await broker.depth(queue), await broker.depth(broker.topology.large_queue(queue))) == (3, 1)

    await until(are_in_both_queues, "the copy and the returned events")
    with consumer(database_url, broker.url, broker.topology, "runs"):
        await until(partial(has_runs, store, 3), "all runs")
        await assert_stored_once(broker, store, 3)


async def test_large_event_is_stored_if_its_queue_accepts_no_message(broker: Broker, store: Store) -> None:
    async with consuming_sizes(broker, store, runs_handler(store.run_ingest), ("small",)):
        await broker.publish(run_event("small"))
        await until(partial(has_runs, store, 1), "the small run")
        await broker.channel.queue_delete(broker.topology.large_queue(broker.topology.runs_queue))
        await broker.publish(large_event("large"))
        await until(partial(has_runs, store, 2), "the large run")


async def test_message_keeps_its_headers_when_it_is_moved(broker: Broker, store: Store) -> None:
    """An event in binary mode has its attributes in headers."""
    event = large_event("large")
    data = event.pop("data")
    headers = {f"cloudEvents:{name}": value for name, value in event.items()}
    await broker.publish(body(data), headers=headers, content_type="application/json")
    async with consuming_sizes(broker, store, runs_handler(store.run_ingest), ("small", "large")):
        await until(partial(has_runs, store, 1), "the run")
    await assert_stored_once(broker, store, 1)


async def test_dead_letter_of_a_large_event_is_in_the_queue_of_all_dead_letters(broker: Broker, store: Store) -> None:
    await broker.publish(b"{" * (LARGE_BYTES + 1))
    async with consuming_sizes(broker, store, runs_handler(store.run_ingest), ("small", "large")):

        async def is_dead() -> bool:
            return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue)) == 1

        await until(is_dead, "the dead letter")
    [dead_letter] = await broker.pop_dead_letters()
    assert dead_letter.headers["x-reason"] == "not_json"


@pytest.mark.slow
async def test_processes_for_small_and_for_large_events_share_the_work(
    broker: Broker, store: Store, database_url: str
) -> None:
    await broker.publish(large_event("large"), run_event("small", [result()]))
    large_queue = broker.topology.large_queue(broker.topology.runs_queue)
    with consumer(database_url, broker.url, broker.topology, "runs", event_sizes="small"):
        await until(partial(is_stored, store, "small"), "the small event", 30)
        await until(partial(has_depth, broker, large_queue), "the moved event", 30)
        assert not await is_stored(store, "large")
    await broker.publish(run_event("later", [result()]))
    with consumer(database_url, broker.url, broker.topology, "runs", event_sizes="large"):
        await until(partial(is_stored, store, "large"), "the large event", 30)
        assert not await is_stored(store, "later")


async def has_depth(broker: Broker, queue: str) -> bool:
    return await broker.depth(queue) == 1
