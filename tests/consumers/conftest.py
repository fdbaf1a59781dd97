"""A store, a publisher, and consumers with a real broker. Each test has its own queues."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from consumers.broker import run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.isolation import Isolation
from consumers.messages import MessageHandler
from consumers.runs import runs_handler
from consumers.topology import RUN_COMPLETED, Topology
from service.tasks.store import CrashSuspects
from tests.run_events import body
from tests.running import TIMEOUT_S, running
from tests.stored import Store, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


@dataclass
class Broker:
    """The broker as a producer and an operator use it."""

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

    async def pop_dead_letters(self) -> list[aio_pika.abc.AbstractIncomingMessage]:
        queue = await self.channel.get_queue(self.topology.dead_queue(self.topology.runs_queue))
        dead_letters = []
        while message := await queue.get(fail=False, no_ack=True):
            dead_letters.append(message)
        return dead_letters


@pytest.fixture
async def broker(amqp_url: str, queue_prefix: str) -> AsyncIterator[Broker]:
    topology = Topology(queue_prefix)
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await topology.declare(channel)
        yield Broker(amqp_url, topology, channel)
        await delete_topology(await connection.channel(), topology)


async def delete_topology(channel: AbstractChannel, topology: Topology) -> None:
    """Delete the queues and exchanges of a test."""
    await channel.queue_delete(topology.postponed_queue(topology.runs_queue))
    await channel.queue_delete(topology.large_queue(topology.runs_queue))
    for queue in topology.queues:
        await channel.queue_delete(queue)
        await channel.queue_delete(topology.dead_queue(queue))
    for exchange in (topology.runs_exchange, topology.dead_exchange):
        await channel.exchange_delete(exchange)


def isolation(store: Store) -> Isolation:
    """Return the isolation that the consumers of one queue in one process share."""
    return Isolation(CrashSuspects(store.pool), asyncio.get_running_loop().time)


@asynccontextmanager
async def consuming(
    broker: Broker, store: Store, handle: MessageHandler, concurrency: int = 2, url: str | None = None
) -> AsyncIterator[None]:
    """Run a batch consumer while the block runs, then stop it as SIGTERM does. It can use another URL of the broker."""
    stopping = asyncio.Event()
    consumer = BatchConsumer(
        broker.topology, broker.topology.runs_queue, handle, isolation(store), stopping, concurrency=concurrency
    )
    async with running(stopping, run_on_broker(url or broker.url, broker.topology, [consumer], stopping)):
        yield


@pytest.fixture
async def consumers(broker: Broker, store: Store) -> AsyncIterator[None]:
    async with consuming(broker, store, runs_handler(store.run_ingest)):
        yield


async def until(condition: Callable[[], Any], description: str, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until the asynchronous condition is true. Fails after `timeout_s`."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited {timeout_s} s for {description}"
        await asyncio.sleep(0.02)
