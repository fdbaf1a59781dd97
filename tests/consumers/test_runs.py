"""Tests of events from a real broker: each is stored once, or becomes a dead letter with a reason."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aio_pika
import pytest
from aio_pika.exceptions import ChannelInvalidStateError
from pamqp.commands import Basic

from consumers.broker import ConsumerLost
from consumers.dead_letters import DeadLetterStore, open_dead_letters
from consumers.isolation import PREFETCH, PREFETCH_BYTES
from consumers.messages import Delivery, HandlerOutcome
from consumers.runs import runs_handler
from consumers.topology import RUN_COMPLETED
from service.database.database import as_owner
from tests.fixtures.broker import Broker, consuming, until
from tests.run_events import body, result, run_event
from tests.stored import Store


async def has_dead_letters(broker: Broker, count: int) -> bool:
    return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue)) == count


async def has_runs(store: Store, count: int) -> bool:
    return bool(await store.pool.fetchval("SELECT count(*) = $1 FROM runs", count))


@pytest.mark.usefixtures("consumers")
async def test_published_event_is_stored_and_acknowledged(broker: Broker, store: Store) -> None:
    await broker.publish(run_event())
    await until(lambda: has_runs(store, 1), "the run")
    assert await broker.depth(broker.topology.runs_queue) == 0


@pytest.mark.usefixtures("consumers")
@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "ce-"])
async def test_binary_mode_is_accepted(broker: Broker, store: Store, prefix: str) -> None:
    event = run_event()
    data = event.pop("data")
    headers = {f"{prefix}{name}": value for name, value in event.items()}
    await broker.publish(body(data), headers=headers, content_type="application/json")
    await until(lambda: has_runs(store, 1), "the run")


@pytest.mark.usefixtures("consumers")
async def test_time_of_binary_mode_can_be_a_timestamp(broker: Broker, store: Store) -> None:
    time = datetime.now(UTC).replace(microsecond=0)
    event = {**run_event(), "time": time}
    data = event.pop("data")
    headers = {f"ce-{name}": value for name, value in event.items()}
    await broker.publish(body(data), headers=headers, content_type="application/json")
    await until(lambda: has_runs(store, 1), "the run")
    assert await store.pool.fetchval("SELECT completed_at FROM runs") == time


@pytest.mark.usefixtures("consumers")
async def test_headers_with_two_prefixes_are_rejected(broker: Broker, store: Store) -> None:
    event = run_event("conflicting")
    data = event.pop("data")
    headers = {f"{prefix}{name}": value for name, value in event.items() for prefix in ("cloudEvents_", "ce-")}
    await broker.publish(run_event("before"))
    await broker.publish(body(data), headers=headers, content_type="application/json")
    await broker.publish(run_event("after"))
    await until(lambda: has_runs(store, 2), "both valid runs")
    await until(lambda: has_dead_letters(broker, 1), "the dead letter")
    [dead_letter] = await broker.pop_dead_letters()
    assert dead_letter.headers["x-reason"] == "invalid"
    assert dead_letter.headers["x-message"] == (
        "headers: attributes have the prefixes cloudEvents_ and ce-. Use one prefix for all attributes."
    )


@pytest.mark.usefixtures("consumers")
async def test_dead_letter_has_its_reason_and_blocks_no_other_event(broker: Broker, store: Store) -> None:
    await broker.publish(run_event("before"), b"{", run_event(organization="unknown"), run_event("after"))
    await until(lambda: has_runs(store, 2), "both valid runs")
    await until(lambda: has_dead_letters(broker, 2), "both dead letters")
    dead_letters = await broker.pop_dead_letters()
    assert sorted(str(message.headers["x-reason"]) for message in dead_letters) == ["not_json", "unknown_organization"]
    assert {message.body for message in dead_letters} > {b"{"}


async def test_message_is_not_acknowledged_before_it_is_handled(broker: Broker, store: Store) -> None:
    """An event whose handler failed is handled again, and is then stored."""
    failures = 2
    handle = runs_handler(store.run_ingest)

    async def fail_first(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        nonlocal failures
        if failures:
            failures -= 1
            raise ConnectionResetError("the database is gone")
        return await handle(deliveries)

    async with consuming(broker, store, fail_first, concurrency=1):
        await broker.publish(run_event())
        await until(lambda: has_runs(store, 1), "the run")


async def test_stop_during_an_outage_keeps_the_message(broker: Broker, store: Store) -> None:
    async def fail(_: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        raise ConnectionRefusedError("no database")

    async with consuming(broker, store, fail):
        await broker.publish(run_event())
        await asyncio.sleep(0.5)

    async def is_queued() -> bool:
        return await broker.depth(broker.topology.runs_queue) == 1

    await until(is_queued, "the message to be queued again")


async def test_delivered_messages_are_handled_before_a_stop(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.run_ingest)

    async def handle_slowly(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        await asyncio.sleep(0.2)
        return await handle(deliveries)

    async with consuming(broker, store, handle_slowly, concurrency=1):
        await broker.publish(run_event("first"))  # the consumer prefetches more messages only after the first one
        await until(lambda: has_runs(store, 1), "the first run")
        await broker.publish(*[run_event(f"run_{number}") for number in range(PREFETCH)])
        await asyncio.sleep(0.1)
    remaining = await broker.depth(broker.topology.runs_queue)
    assert await store.pool.fetchval("SELECT count(*) FROM runs") + remaining == 1 + PREFETCH
    assert remaining == 0


async def test_deleted_queue_is_declared_again(broker: Broker, store: Store) -> None:
    """The broker cancels the consumer of a deleted queue."""
    async with consuming(broker, store, runs_handler(store.run_ingest), concurrency=1):
        await broker.publish(run_event("before"))
        await until(lambda: has_runs(store, 1), "the first run")
        await broker.channel.queue_delete(broker.topology.runs_queue)
        await until(lambda: is_routed(broker, run_event("after")), "the queue to be declared again")
        await until(lambda: has_runs(store, 2), "the run after the deletion")


async def is_routed(broker: Broker, event: Any) -> bool:
    """Publish an event. Return False if no queue receives it."""
    exchange = await broker.channel.get_exchange(broker.topology.runs_exchange)
    confirmation = await exchange.publish(aio_pika.Message(body(event)), routing_key=RUN_COMPLETED)
    return isinstance(confirmation, Basic.Ack)


async def test_message_that_was_delivered_twice_is_handled_alone(broker: Broker, store: Store) -> None:
    """A message that crashes its consumer must not push other messages over the delivery limit."""
    sizes: list[list[bytes]] = []
    crashes = 2

    async def crash_on_poison(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        nonlocal crashes
        bodies = [delivery.body for delivery in deliveries]
        if b"poison" in bodies and crashes:
            crashes -= 1
            raise ConsumerLost("the effect of a killed process")
        sizes.append(bodies)
        return [None] * len(deliveries)

    await broker.publish(b"one", b"poison", b"two")
    async with consuming(broker, store, crash_on_poison, concurrency=1):

        async def all_handled() -> bool:
            return sum(map(len, sizes)) >= 3

        await until(all_handled, "all three messages")
    assert [b"poison"] in sizes


async def test_replayed_dead_letter_is_stored_after_its_cause_was_fixed(broker: Broker, store: Store) -> None:
    async with consuming(broker, store, runs_handler(store.run_ingest)):
        await broker.publish(run_event(organization="late"))
        await until(lambda: has_dead_letters(broker, 1), "the dead letter")
        await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('late', 'Late')")
        async with open_dead_letters(broker.url, broker.topology) as dead_letters:
            (dead_letter,) = await dead_letters.list_oldest(10)
            assert dead_letter.reason == "unknown_organization"
            await dead_letters.replay(dead_letter)
        await until(lambda: has_runs(store, 1), "the replayed run")
        assert await broker.pop_dead_letters() == []


async def test_listing_dead_letters_repeatedly_loses_none(broker: Broker) -> None:
    """A quorum queue drops a message that was requeued too often, unless its delivery limit is off."""
    exchange = await broker.channel.get_exchange(broker.topology.dead_exchange)
    await exchange.publish(aio_pika.Message(b"{"), routing_key=broker.topology.runs_queue)
    await until(lambda: has_dead_letters(broker, 1), "the dead letter")
    for _ in range(30):
        async with open_dead_letters(broker.url, broker.topology) as dead_letters:
            await until(partial(has_one, dead_letters), "the dead letter")


async def has_one(dead_letters: DeadLetterStore) -> bool:
    return len(await dead_letters.list_oldest(10)) == 1


async def test_two_processes_share_a_queue(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.run_ingest)
    async with consuming(broker, store, handle, concurrency=2), consuming(broker, store, handle, concurrency=2):
        events = [run_event(f"run_{number % 100}", [result(f"case {number}")]) for number in range(300)]
        await broker.publish(*events)

        async def all_stored() -> bool:
            return bool(await store.pool.fetchval("SELECT count(*) = 300 FROM results"))

        await until(all_stored, "every result")
    assert await broker.pop_dead_letters() == []


async def test_connection_lost_during_a_batch_is_opened_again(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.run_ingest)
    lost = False

    async def lose_the_connection(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        nonlocal lost
        if not lost:
            lost = True
            raise ChannelInvalidStateError("the effect of an ack on a closed channel")
        return await handle(deliveries)

    async with consuming(broker, store, lose_the_connection, concurrency=1):
        await broker.publish(*[run_event(f"run_{number}") for number in range(30)])
        await until(lambda: has_runs(store, 30), "every run")
    assert await broker.pop_dead_letters() == []


async def test_large_messages_are_not_prefetched_by_count(broker: Broker, store: Store) -> None:
    """40 messages of the maximum size of the broker would need hundreds of MiB."""
    size, count = 2**20, 40
    handled = 0
    released = asyncio.Event()

    async def wait_after_first(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        nonlocal handled
        handled += len(deliveries)
        if handled > 1:
            await released.wait()
        return [None] * len(deliveries)

    await broker.publish(*[b" " * size] * count)
    async with consuming(broker, store, wait_after_first, concurrency=1):

        async def second_is_handled() -> bool:
            return handled > 1

        await until(second_is_handled, "the second batch")
        await asyncio.sleep(0.3)
        queued = await broker.depth(broker.topology.runs_queue)
        released.set()
    assert count - 1 - queued <= PREFETCH_BYTES // size


@pytest.mark.usefixtures("consumers")
async def test_late_event_of_an_archived_run_is_a_dead_letter_and_counts_nothing(
    broker: Broker, store: Store, database_url: str
) -> None:
    """Only the results of the run show that an event repeats a case. An operator has archived them."""
    event = partial(run_event, time="2026-05-20T12:00:00Z", expected_results=9)
    await broker.publish(event("archived"), event("empty", []))
    await until(lambda: has_runs(store, 2), "both runs")
    async with as_owner(database_url) as owner:
        await owner.execute("ALTER TABLE results DETACH PARTITION results_2026_05")
    late = [result(), result("pays")]
    await broker.publish(*(event(run_id, late) for run_id in ("archived", "empty", "new")))
    await until(lambda: has_dead_letters(broker, 1), "the dead letter")

    async def others_are_stored() -> bool:
        return bool(await store.pool.fetchval("SELECT count(*) = 2 FROM runs WHERE passed = 2"))

    await until(others_are_stored, "the results of the other runs")
    [dead_letter] = await broker.pop_dead_letters()
    assert dead_letter.headers["x-reason"] == "completed_at_out_of_range"
    rows = await store.pool.fetch("SELECT run_id, passed, results_expired FROM runs ORDER BY run_id")
    assert list(map(tuple, rows)) == [("archived", 1, True), ("empty", 2, False), ("new", 2, False)]
