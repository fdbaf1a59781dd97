"""Events through a real broker: stored once, or in the dead letters with a reason."""

import asyncio
from collections.abc import Sequence
from functools import partial

import aio_pika
import pytest
from aio_pika.exceptions import ChannelInvalidStateError

from consumers import worker
from consumers.dead_letters import DeadLetterStore, open_dead_letters
from consumers.runs import runs_handler
from consumers.worker import Delivery, Rejection
from tests.consumers.conftest import Broker, consuming, until
from tests.run_events import body, result, run_event
from tests.stored import Store


async def buried(broker: Broker, count: int) -> bool:
    return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue)) == count


async def stored(store: Store, count: int) -> bool:
    return bool(await store.pool.fetchval("SELECT count(*) = $1 FROM runs", count))


@pytest.mark.usefixtures("consumers")
async def test_a_published_event_is_stored_and_acked(broker: Broker, store: Store) -> None:
    await broker.publish(run_event())
    await until(lambda: stored(store, 1), "the run")
    assert await broker.depth(broker.topology.runs_queue) == 0


@pytest.mark.usefixtures("consumers")
@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_"])
async def test_binary_mode_is_read_too(broker: Broker, store: Store, prefix: str) -> None:
    event = run_event()
    data = event.pop("data")
    headers = {f"{prefix}{name}": value for name, value in event.items()}
    await broker.publish(body(data), headers=headers, content_type="application/json")
    await until(lambda: stored(store, 1), "the run")


@pytest.mark.usefixtures("consumers")
async def test_a_dead_letter_carries_its_reason_and_blocks_nobody(broker: Broker, store: Store) -> None:
    await broker.publish(run_event("before"), b"{", run_event(organization="nobody"), run_event("after"))
    await until(lambda: stored(store, 2), "both good runs")
    await until(lambda: buried(broker, 2), "both letters")
    letters = await broker.dead()
    assert sorted(str(letter.headers["x-reason"]) for letter in letters) == ["not_json", "unknown_organization"]
    assert {letter.body for letter in letters} > {b"{"}


async def test_an_unhandled_fault_leaves_the_message_to_the_broker(broker: Broker, store: Store) -> None:
    """Nothing is acked that was not handled: the event comes again, and is stored then."""
    failures = 2
    handle = runs_handler(store.ingest)

    async def fail_first(deliveries: Sequence[Delivery]) -> Sequence[Rejection | None]:
        nonlocal failures
        if failures:
            failures -= 1
            raise ConnectionResetError("the store is gone")
        return await handle(deliveries)

    async with consuming(broker, fail_first, lanes=1):
        await broker.publish(run_event())
        await until(lambda: stored(store, 1), "the run")


async def test_stopping_in_an_outage_keeps_the_message(broker: Broker) -> None:
    async def out(_: Sequence[Delivery]) -> Sequence[Rejection | None]:
        raise ConnectionRefusedError("no database")

    async with consuming(broker, out):
        await broker.publish(run_event())
        await asyncio.sleep(0.5)

    async def is_there() -> bool:
        return await broker.depth(broker.topology.runs_queue) == 1

    await until(is_there, "the message to be back")


async def test_what_was_delivered_is_handled_before_stopping(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.ingest)

    async def slowly(deliveries: Sequence[Delivery]) -> Sequence[Rejection | None]:
        await asyncio.sleep(0.2)
        return await handle(deliveries)

    async with consuming(broker, slowly, lanes=1):
        await broker.publish(*[run_event(f"run_{number}") for number in range(worker.PREFETCH)])
        await asyncio.sleep(0.1)
    left = await broker.depth(broker.topology.runs_queue)
    assert await store.pool.fetchval("SELECT count(*) FROM runs") + left == worker.PREFETCH
    assert left == 0


async def test_a_lost_queue_is_declared_again(broker: Broker, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker cancels the consumer of a deleted queue; nobody may go on waiting for messages."""
    monkeypatch.setattr("consumers.worker._CHECK_CONSUMER_S", 0.3)
    async with consuming(broker, runs_handler(store.ingest), lanes=1):
        await broker.publish(run_event("before"))
        await until(lambda: stored(store, 1), "the first run")
        await broker.channel.queue_delete(broker.topology.runs_queue)
        await asyncio.sleep(1.5)
        await broker.publish(run_event("after"))
        await until(lambda: stored(store, 2), "the run after the loss")


async def test_a_message_delivered_twice_before_runs_alone(broker: Broker) -> None:
    """One that takes its worker down must not take its neighbours over the delivery limit."""
    sizes: list[list[bytes]] = []
    crashes = 2

    async def crash_on_poison(deliveries: Sequence[Delivery]) -> Sequence[Rejection | None]:
        nonlocal crashes
        bodies = [delivery.body for delivery in deliveries]
        if b"poison" in bodies and crashes:
            crashes -= 1
            raise worker.ConsumerLost("as a killed process would")
        sizes.append(bodies)
        return [None] * len(deliveries)

    await broker.publish(b"one", b"poison", b"two")
    async with consuming(broker, crash_on_poison, lanes=1):

        async def all_came() -> bool:
            return sum(map(len, sizes)) >= 3

        await until(all_came, "all three")
    assert [b"poison"] in sizes


async def test_replayed_dead_letters_are_stored_once_their_reason_is_gone(broker: Broker, store: Store) -> None:
    async with consuming(broker, runs_handler(store.ingest)):
        await broker.publish(run_event(organization="late"))
        await until(lambda: buried(broker, 1), "the dead letter")
        await store.pool.execute("INSERT INTO organizations (slug, name) VALUES ('late', 'Late')")
        async with open_dead_letters(broker.url, broker.topology) as graveyard:
            (letter,) = await graveyard.list_oldest(10)
            assert letter.reason == "unknown_organization"
            await graveyard.replay(letter)
        await until(lambda: stored(store, 1), "the replayed run")
        assert await broker.dead() == []


async def test_looking_at_dead_letters_any_number_of_times_loses_none(broker: Broker) -> None:
    """Quorum queues drop what was returned too often, unless they are told not to."""
    exchange = await broker.channel.get_exchange(broker.topology.dead_exchange)
    await exchange.publish(aio_pika.Message(b"{"), routing_key=broker.topology.runs_queue)
    await until(lambda: buried(broker, 1), "the letter")
    for _ in range(30):
        async with open_dead_letters(broker.url, broker.topology) as graveyard:
            await until(partial(has_one, graveyard), "the letter")


async def has_one(graveyard: DeadLetterStore) -> bool:
    return len(await graveyard.list_oldest(10)) == 1


async def test_two_consumers_share_a_thousand_events(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.ingest)
    async with consuming(broker, handle, lanes=2), consuming(broker, handle, lanes=2):
        events = [run_event(f"run_{number % 100}", [result(f"case {number}")]) for number in range(300)]
        await broker.publish(*events)

        async def all_stored() -> bool:
            return bool(await store.pool.fetchval("SELECT count(*) = 300 FROM results"))

        await until(all_stored, "every result")
    assert await broker.dead() == []


async def test_a_connection_lost_in_the_middle_of_a_batch_is_made_again(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.ingest)
    lost = False

    async def lose_the_connection(deliveries: Sequence[Delivery]) -> Sequence[Rejection | None]:
        nonlocal lost
        if not lost:
            lost = True
            raise ChannelInvalidStateError("as an ack on a closed channel does")
        return await handle(deliveries)

    async with consuming(broker, lose_the_connection, lanes=1):
        await broker.publish(*[run_event(f"run_{number}") for number in range(30)])
        await until(lambda: stored(store, 30), "every run")
    assert await broker.dead() == []
