"""A store, a publisher and consumers over a real broker, each test with queues of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from consumers.broker import run_on_broker
from consumers.runs import runs_handler
from consumers.topology import RUN_COMPLETED, Topology
from consumers.worker import BatchConsumer, MessageHandler
from tests.run_events import body
from tests.running import PATIENCE_S, running
from tests.stored import Store, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


@dataclass
class Broker:
    """What a producer and an operator see of the broker."""

    url: str
    topology: Topology
    channel: AbstractChannel

    async def publish(self, *events: Any, **properties: Any) -> None:
        exchange = await self.channel.get_exchange(self.topology.runs_exchange)
        for event in events:
            message = aio_pika.Message(body(event), delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
            await exchange.publish(message, routing_key=RUN_COMPLETED)

    async def depth(self, queue: str) -> int:
        declared = await self.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0

    async def dead(self) -> list[aio_pika.abc.AbstractIncomingMessage]:
        queue = await self.channel.get_queue(self.topology.dead_queue(self.topology.runs_queue))
        letters = []
        while letter := await queue.get(fail=False, no_ack=True):
            letters.append(letter)
        return letters


@pytest.fixture
async def broker(amqp_url: str, queue_prefix: str) -> AsyncIterator[Broker]:
    topology = Topology(queue_prefix)
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await topology.declare(channel)
        yield Broker(amqp_url, topology, channel)
        channel = await connection.channel()
        for queue in topology.queues:
            await channel.queue_delete(queue)
            await channel.queue_delete(topology.dead_queue(queue))
        for exchange in (topology.runs_exchange, topology.dead_exchange):
            await channel.exchange_delete(exchange)


@asynccontextmanager
async def consuming(broker: Broker, handle: MessageHandler, lanes: int = 2) -> AsyncIterator[None]:
    """Lanes in this process, stopped as SIGTERM stops them."""
    stopping = asyncio.Event()
    team: Sequence[BatchConsumer] = [
        BatchConsumer(broker.topology, broker.topology.runs_queue, handle, stopping) for _ in range(lanes)
    ]
    async with running(stopping, run_on_broker(broker.url, broker.topology, team, stopping)):
        yield


@pytest.fixture
async def consumers(broker: Broker, store: Store) -> AsyncIterator[None]:
    async with consuming(broker, runs_handler(store.ingest)):
        yield


async def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits until the (async) condition holds."""
    deadline = asyncio.get_running_loop().time() + patience_s
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited {patience_s} s for {what}"
        await asyncio.sleep(0.02)
