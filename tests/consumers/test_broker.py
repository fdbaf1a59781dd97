"""Tests of the connection to RabbitMQ: it reconnects after each loss without leaking tasks."""

import asyncio
from collections.abc import Sequence
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection
from prometheus_client import REGISTRY

from consumers.broker import run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.messages import Delivery, HandlerOutcome
from consumers.topology import Topology
from service.dev.ports import choose_port
from tests.fixtures.broker import Broker, delete_topology, isolation, until
from tests.proxies import UnreliableProxy
from tests.run_events import run_event
from tests.running import running
from tests.stored import Store


def losses() -> float:
    return REGISTRY.get_sample_value("results_broker_losses_total") or 0.0


async def test_broker_losses_leak_no_tasks() -> None:
    stopping, losses_before = asyncio.Event(), losses()
    unused = f"amqp://127.0.0.1:{choose_port()}/"
    tasks_before = asyncio.all_tasks()
    async with running(stopping, run_on_broker(unused, Topology(), [], stopping)):

        async def lost_three_times() -> bool:
            return losses() - losses_before >= 3

        await until(lost_three_times, "three losses of the broker")
        waiting = [task for task in asyncio.all_tasks() - tasks_before if "Event.wait" in repr(task.get_coro())]
        assert len(waiting) <= 1


async def test_exchange_of_producers_is_created_after_its_queues(
    amqp_url: str, queue_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    topology, names = Topology(queue_prefix), []
    async with await aio_pika.connect(amqp_url) as connection, connection.channel() as channel:
        declare_exchange = channel.declare_exchange

        async def declare_after_queues(name: str, *arguments: Any, **options: Any) -> Any:
            names.append(name)
            if name == topology.runs_exchange:
                for queue in (*topology.queues, topology.large_queue(topology.runs_queue)):
                    await channel.declare_queue(queue, passive=True)
            return await declare_exchange(name, *arguments, **options)

        monkeypatch.setattr(channel, "declare_exchange", declare_after_queues)
        await topology.declare(channel)
        await delete_topology(channel, topology)
    assert topology.runs_exchange in names


@pytest.mark.slow
async def test_messages_arrive_soon_after_the_connection_became_half_open(broker: Broker, store: Store) -> None:
    received: list[bytes] = []

    async def handle(deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        received.extend(delivery.body for delivery in deliveries)
        return [None] * len(deliveries)

    async def have_arrived() -> bool:
        return len(received) >= 2

    async def has_arrived() -> bool:
        return bool(received)

    stopping = asyncio.Event()
    async with UnreliableProxy(broker.url) as proxy:
        consumer = BatchConsumer(broker.topology, broker.topology.runs_queue, handle, isolation(store), stopping)
        url = f"{proxy.url}?heartbeat=2"
        async with running(stopping, run_on_broker(url, broker.topology, [consumer], stopping)):
            await broker.publish(run_event("run_1"))
            await until(has_arrived, "the first message")
            proxy.stall_connections()
            await broker.publish(run_event("run_2"))
            await until(have_arrived, "the second message, on a new connection")


class TransportClosingTask:
    """A task whose transport closes before the library notices that the connection is closed."""

    is_connected = True

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self.runs = 0

    def unchanged_s(self) -> float:
        return 0.0

    async def run(self, connection: AbstractConnection) -> None:
        self.runs += 1
        if self.runs == 2:
            self._stopping.set()
            return
        assert connection.transport is not None
        await connection.transport.connection.close()
        async with connection.channel():
            raise AssertionError("the channel was opened")


async def test_call_after_the_transport_closed_is_a_loss_of_the_broker(broker: Broker) -> None:
    stopping = asyncio.Event()
    task = TransportClosingTask(stopping)
    async with asyncio.timeout(10):
        await run_on_broker(broker.url, broker.topology, [task], stopping)
    assert task.runs == 2
