"""Subscriptions, queues, and exchanges that the broker loses, or an operator deletes, while processes consume."""

import asyncio
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from structlog.testing import capture_logs

from consumers.broker import connect, run_on_broker
from consumers.consume_loop import ConsumeLoop
from consumers.runs import runs_handler
from consumers.topology import RUN_COMPLETED
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker, consuming, until
from tests.proxies import UnreliableProxy
from tests.run_events import body, run_event
from tests.stored import Store

SOON_S = 5.0  # much less than the interval at which an idle subscription is renewed


async def consumer_count(broker: Broker) -> int:
    """Return the number of subscriptions to the queue of events; 0 if the queue doesn't exist."""
    async with await aio_pika.connect(broker.url) as connection:
        try:
            declared = await (await connection.channel()).declare_queue(broker.topology.runs_queue, passive=True)
        except ChannelNotFoundEntity:
            return 0
        return declared.declaration_result.consumer_count or 0


async def both_consume(broker: Broker) -> bool:
    return await consumer_count(broker) == 2


async def test_each_process_subscribes_again_after_the_broker_has_canceled_both(broker: Broker, store: Store) -> None:
    """The deletion of a queue cancels its consumers. The first that subscribes again must not hide the other's loss."""
    handle = runs_handler(store.run_ingest)
    with capture_logs() as logs:
        async with consuming(broker, store, handle), consuming(broker, store, handle):
            await until(lambda: both_consume(broker), "both subscriptions")
            await broker.channel.queue_delete(broker.topology.runs_queue)
            await until(lambda: both_consume(broker), "both subscriptions after the deletion", SOON_S)
    reasons = [line["error"] for line in logs if line["event"] == "broker_connection_lost"]
    assert any(f"canceled the subscription to {broker.topology.runs_queue}" in reason for reason in reasons)


async def test_loss_without_a_notification_is_repaired_although_another_process_consumes_the_queue(
    broker: Broker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.consume_loop._RENEW_S", 0.3)
    channels: list[AbstractChannel] = []
    consume = ConsumeLoop._consume

    async def record_channel(self: ConsumeLoop, subscription: Any) -> None:
        channels.append(self._channel)
        await consume(self, subscription)

    monkeypatch.setattr(ConsumeLoop, "_consume", record_channel)
    handle = runs_handler(store.run_ingest)
    async with consuming(broker, store, handle), consuming(broker, store, handle):
        await until(lambda: both_consume(broker), "both subscriptions")
        underlay: Any = await channels[0].get_underlay_channel()
        [tag] = underlay.consumers
        await underlay.basic_cancel(tag)
        await until(lambda: both_consume(broker), "both subscriptions after the loss", SOON_S)


async def test_deleted_exchanges_and_dead_letter_queues_are_declared_again(
    broker: Broker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator deletes what no consumer uses while it waits for messages, so that no call of a consumer fails."""
    monkeypatch.setattr("consumers.broker._DECLARE_EVERY_S", 0.3)
    topology = broker.topology
    async with consuming(broker, store, runs_handler(store.run_ingest)):
        await until(lambda: has_consumer(broker), "the subscription")
        for queue in topology.queues:
            await broker.channel.queue_delete(topology.dead_queue(queue))
        await broker.channel.queue_delete(topology.postponed_queue(topology.runs_queue))
        for exchange in (topology.runs_exchange, topology.dead_exchange):
            await broker.channel.exchange_delete(exchange)
        await until(lambda: can_publish(broker, run_event()), "the exchange of producers", SOON_S)
        await until(lambda: can_publish(broker, b"{"), "a dead letter")
        dead_letters = topology.dead_queue(topology.runs_queue)
        await until(lambda: has_messages(broker, dead_letters), "the dead letter in the new queue")
        await broker.depth(topology.postponed_queue(topology.runs_queue))
    assert await store.pool.fetchval("SELECT count(*) FROM runs") == 1


async def has_consumer(broker: Broker) -> bool:
    return await consumer_count(broker) == 1


async def has_messages(broker: Broker, queue: str) -> bool:
    return await broker.depth(queue) > 0


async def can_publish(broker: Broker, event: Any) -> bool:
    """Publish an event. Return False if the exchange doesn't exist or routes the event to no queue."""
    async with await aio_pika.connect(broker.url) as connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            exchange = await channel.get_exchange(broker.topology.runs_exchange)
            await exchange.publish(aio_pika.Message(body(event)), routing_key=RUN_COMPLETED)
        except (ChannelNotFoundEntity, aio_pika.exceptions.DeliveryError):
            return False
        return True


async def test_reason_why_the_broker_closed_a_channel_is_logged(broker: Broker) -> None:
    with capture_logs() as logs:
        async with await connect(broker.url) as connection, connection.opened_channel() as channel:
            with pytest.raises(ChannelNotFoundEntity):
                await channel.declare_queue("missing", passive=True)
        async with await connect(broker.url) as connection, connection.opened_channel():
            pass  # this process closes the channel
    [line] = [line for line in logs if line["event"] == "broker_channel_closed"]
    assert "no queue 'missing'" in line["error"]


class LateAcknowledgment:
    """A task whose call fails like one on a channel that the broker closes after its limit for acknowledgments."""

    is_connected = True

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self.runs = 0

    def unchanged_s(self) -> float:
        return 0.0

    async def run(self, connection: AbstractConnection) -> None:
        self.runs += 1
        if self.runs == 1:
            raise ChannelPreconditionFailed("PRECONDITION_FAILED - delivery timed out")
        self._stopping.set()


async def test_late_acknowledgment_is_a_loss_and_not_a_mismatch_of_the_topology(broker: Broker) -> None:
    stopping = asyncio.Event()
    task = LateAcknowledgment(stopping)
    await run_on_broker(broker.url, broker.topology, [task], stopping)
    assert task.runs == 2


class Idle:
    """A task that waits until the process must stop."""

    is_connected = True

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self.has_started = asyncio.Event()

    def unchanged_s(self) -> float:
        return 0.0

    async def run(self, connection: AbstractConnection) -> None:
        self.has_started.set()
        await self._stopping.wait()


async def test_queue_that_gets_other_arguments_later_ends_the_process_and_is_named(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.broker._DECLARE_EVERY_S", 0.3)
    dead_letters = broker.topology.dead_queue(broker.topology.runs_queue)
    stopping = asyncio.Event()
    task = Idle(stopping)

    async def replace_queue() -> None:
        await task.has_started.wait()
        await broker.channel.queue_delete(dead_letters)
        await broker.channel.declare_queue(dead_letters, durable=True, arguments={"x-queue-type": "classic"})

    replacing = asyncio.create_task(replace_queue())
    with pytest.raises(SystemExit, match=dead_letters):
        await run_on_broker(broker.url, broker.topology, [task], stopping)
    await replacing


async def test_process_without_the_broker_counts_as_no_worker_of_the_roles_that_need_it(
    broker: Broker, store: Store, database_url: str
) -> None:
    async def are_counted(*roles: str) -> bool:
        return [row["role"] for row in await store.pool.fetch("SELECT role FROM heartbeats ORDER BY role")] == [*roles]

    async with UnreliableProxy(broker.url) as proxy:
        proxy.rejects_connections = True
        with consumer(database_url, proxy.url, broker.topology, "runs", "relay", "webhooks", "reports"):
            await until(lambda: are_counted("reports", "webhooks"), "the roles that work without the broker")
            await asyncio.sleep(2)
            assert await are_counted("reports", "webhooks")
            proxy.resume()
            await until(lambda: are_counted("relay", "reports", "runs", "webhooks"), "all roles")
