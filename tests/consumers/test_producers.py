"""Tests of producers as users of a real broker: each can send only events of its organizations and projects."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import ChannelAccessRefused, ChannelPreconditionFailed, ProbableAuthenticationError
from yarl import URL

from consumers.dead_letters import open_dead_letters
from consumers.messages import PRODUCER, Delivery, HandlerOutcome, Postponement, find_producer
from consumers.runs import runs_handler
from consumers.topology import RUN_COMPLETED
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.organizations import store as organizations_store
from tests.consumers.test_large_events import consuming_sizes, large_event
from tests.fixtures.broker import Broker, consuming, until
from tests.run_events import body, run_event
from tests.servers import PRODUCER_PASSWORD, PRODUCERS
from tests.stored import RETENTION, Store

A, B = PRODUCERS


@asynccontextmanager
async def connected(broker: Broker, user: str) -> AsyncIterator[Broker]:
    """Return the broker as a producer uses it."""
    url = URL(broker.url).with_user(user).with_password(PRODUCER_PASSWORD)
    try:
        connection = await aio_pika.connect(url)
    except ProbableAuthenticationError:
        pytest.skip(f"the external broker has no user {user}")
    async with connection:
        yield Broker(str(url), broker.topology, await connection.channel(publisher_confirms=True))


async def publish(broker: Broker, user: str, event: Any, **properties: Any) -> None:
    async with connected(broker, user) as producer:
        exchange = await producer.channel.get_exchange(broker.topology.runs_exchange, ensure=False)
        await exchange.publish(aio_pika.Message(body(event), **properties), routing_key=RUN_COMPLETED)


def requiring(store: Store) -> RunIngest:
    return RunIngest(BatchStore(store.pool, RETENTION, requires_producer=True))


async def has_runs(store: Store, *run_ids: str) -> bool:
    return {row["run_id"] for row in await store.pool.fetch("SELECT run_id FROM runs")} == set(run_ids)


async def has_dead_letters(broker: Broker, count: int) -> bool:
    return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue)) == count


async def get_only(broker: Broker, queue: str) -> AbstractIncomingMessage:
    """Wait for the only message of a queue."""

    async def has_message() -> bool:
        return await broker.depth(queue) == 1

    await until(has_message, f"a message in {queue}")
    message = await (await broker.channel.get_queue(queue)).get(no_ack=True)
    assert message is not None
    return message


def own_user(broker: Broker) -> str:
    return str(URL(broker.url).user)


async def test_required_identity_accepts_only_events_of_registered_users(broker: Broker, store: Store) -> None:
    await organizations_store.create(store.pool, "globex", "Globex")  # type: ignore[arg-type]
    await store.register(A)
    await store.register(B, project_id="shop")
    data = run_event("binary")
    binary = {f"ce-{name}": value for name, value in data.items() if name != "data"}
    await publish(broker, A, run_event("allowed", project_id="any"), user_id=A)
    await publish(broker, A, data["data"], user_id=A, headers=binary, content_type="application/json")
    await publish(broker, B, run_event("of the project"), user_id=B)
    await publish(broker, B, run_event("other project", project_id="docs"), user_id=B)
    await publish(broker, B, run_event("other organization", organization="globex"), user_id=B)
    await publish(broker, B, run_event("absent"))
    await publish(broker, B, run_event("forged header", project_id="docs"), user_id=B, headers={PRODUCER: A})
    await publish(broker, B, run_event("only a header"), headers={PRODUCER: A})
    await broker.publish(run_event("unknown"), user_id=own_user(broker))
    async with consuming(broker, store, runs_handler(requiring(store))):
        await until(partial(has_dead_letters, broker, 6), "the dead letters")
        await until(partial(has_runs, store, "allowed", "binary", "of the project"), "the permitted runs")
    letters = await broker.pop_dead_letters()
    assert {letter.headers["x-reason"] for letter in letters} == {"producer_not_allowed"}
    texts = sorted(str(letter.headers["x-message"]) for letter in letters)
    absent = (
        "user_id: the message doesn't state its RabbitMQ user. Set this property to the user of the connection,"
        " and run `zof-results producers add USER --organization acme --project shop`"
    )
    docs = (
        f"user_id: '{B}' isn't registered for project 'docs' of organization 'acme'. To allow it, run"
        f" `zof-results producers add {B} --organization acme --project docs`"
    )
    assert [text for text in texts if "globex" not in text and repr(own_user(broker)) not in text] == sorted(
        [absent, absent, docs, docs]
    )
    assert await store.pool.fetchval("SELECT count(*) FROM receipts") == 3


async def test_broker_closes_the_channel_of_a_forged_user(broker: Broker) -> None:
    with pytest.raises(ChannelPreconditionFailed, match="user_id"):
        await publish(broker, B, run_event(), user_id=A)
    with pytest.raises(ChannelPreconditionFailed, match="user_id"):
        await publish(broker, B, run_event(), user_id=own_user(broker), headers={PRODUCER: A})


async def test_producer_can_not_publish_to_other_exchanges(broker: Broker) -> None:
    """Only messages that the service published can name another user in a header."""
    for exchange in ("amq.default", broker.topology.dead_exchange):
        async with connected(broker, B) as producer:
            target = (
                producer.channel.default_exchange
                if exchange == "amq.default"
                else await producer.channel.get_exchange(exchange, ensure=False)
            )
            with pytest.raises(ChannelAccessRefused):
                await target.publish(aio_pika.Message(b"{}", user_id=B), routing_key=broker.topology.runs_queue)


async def test_replayed_event_is_accepted_only_after_its_producer_was_added(broker: Broker, store: Store) -> None:
    await store.register(A)
    async with consuming(broker, store, runs_handler(requiring(store))):
        await publish(broker, B, run_event("replayed"), user_id=B)
        for _ in range(2):  # the second dead letter is a copy of the first one
            await until(partial(has_dead_letters, broker, 1), "the dead letter")
            async with open_dead_letters(broker.url, broker.topology) as dead_letters:
                (dead_letter,) = await dead_letters.list_oldest(10)
                assert dead_letter.message.startswith(f"user_id: '{B}' isn't registered for project 'shop'")
                await dead_letters.replay(dead_letter)
        await until(partial(has_dead_letters, broker, 1), "the dead letter")
        await store.register(B, project_id="shop")
        async with open_dead_letters(broker.url, broker.topology) as dead_letters:
            await dead_letters.replay((await dead_letters.list_oldest(10))[0])
        await until(partial(has_runs, store, "replayed"), "the replayed run")


async def test_replayed_event_without_a_user_does_not_get_the_user_of_the_service(broker: Broker, store: Store) -> None:
    await store.register(own_user(broker))
    async with consuming(broker, store, runs_handler(requiring(store))):
        await publish(broker, B, run_event())
        await until(partial(has_dead_letters, broker, 1), "the dead letter")
        async with open_dead_letters(broker.url, broker.topology) as dead_letters:
            await dead_letters.replay((await dead_letters.list_oldest(10))[0])
        await broker.publish(run_event("after"), user_id=own_user(broker))
        await until(partial(has_runs, store, "after"), "the run of the user of the service")
        await until(partial(has_dead_letters, broker, 1), "the dead letter again")


async def test_event_that_the_broker_dead_lettered_keeps_its_producer(broker: Broker) -> None:
    queue = broker.topology.runs_queue
    await publish(broker, B, run_event(), user_id=B, headers={PRODUCER: A})
    message = await (await broker.channel.get_queue(queue)).get()
    assert message is not None
    await message.reject(requeue=False)
    await until(partial(has_dead_letters, broker, 1), "the dead letter")
    async with open_dead_letters(broker.url, broker.topology) as dead_letters:
        await dead_letters.replay((await dead_letters.list_oldest(10))[0])
    replayed = await get_only(broker, queue)
    assert (replayed.user_id, find_producer(replayed, own_user(broker))) == (own_user(broker), B)


async def test_postponed_event_keeps_its_producer(broker: Broker, store: Store) -> None:
    async def postpone(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        return [Postponement("its run is locked")] * len(deliveries)

    await publish(broker, B, run_event(), user_id=B)
    async with consuming(broker, store, postpone):
        postponed = await get_only(broker, broker.topology.postponed_queue(broker.topology.runs_queue))
    assert (postponed.user_id, find_producer(postponed, own_user(broker))) == (own_user(broker), B)


async def test_large_event_keeps_its_producer_in_its_own_queue(broker: Broker, store: Store) -> None:
    await publish(broker, B, large_event("large"), user_id=B)
    async with consuming_sizes(broker, store, runs_handler(requiring(store)), ["small"]):
        large = await get_only(broker, broker.topology.large_queue(broker.topology.runs_queue))
    assert (large.user_id, find_producer(large, own_user(broker))) == (own_user(broker), B)
