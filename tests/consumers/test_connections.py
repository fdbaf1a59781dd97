"""Connections to a URL with several nodes of a RabbitMQ cluster."""

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from consumers import broker as consumers_broker
from consumers.broker import LOSSES, connect, losses_of, run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.messages import Delivery, HandlerOutcome
from service.dev.ports import choose_port
from service.dev.rabbitmq import stores_messages
from service.keepalive import observe_progress
from tests.fixtures.broker import Broker, isolation, until
from tests.hosts import host_of, with_closed_port, with_first_host
from tests.proxies import UnreliableProxy
from tests.run_events import result, run_event
from tests.running import running
from tests.stored import Store


@pytest.fixture(autouse=True)
def in_the_order_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.broker.random.sample", lambda urls, count: urls[:count])


async def test_unreachable_node_is_skipped(amqp_url: str) -> None:
    url = with_closed_port(amqp_url)
    await (await connect(url)).close()
    assert await stores_messages(url)


async def test_error_of_the_last_node_is_raised_if_all_are_unreachable() -> None:
    with pytest.raises(ConnectionError):
        await connect(f"amqp://127.0.0.1:{choose_port()},127.0.0.1:{choose_port()}/")


async def test_consumer_continues_on_another_node(broker: Broker, store: Store) -> None:
    received: list[bytes] = []

    async def handle(deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        received.extend(delivery.body for delivery in deliveries)
        return [None] * len(deliveries)

    async def have_arrived(count: int) -> bool:
        return len(received) >= count

    stopping = asyncio.Event()
    async with UnreliableProxy(broker.url) as proxy:
        url = with_first_host(broker.url, host_of(proxy.url))
        consumer = BatchConsumer(broker.topology, broker.topology.runs_queue, handle, isolation(store), stopping)
        async with running(stopping, run_on_broker(url, broker.topology, [consumer], stopping)):
            for count in (1, 2):
                await broker.publish(run_event(f"run_{count}"))
                await until(partial(have_arrived, count), f"message {count}")
                proxy.rejects_connections = True
                proxy.close_connections()


async def ignore(_: object) -> None:
    """Leave a message unacknowledged."""


async def test_response_after_messages_on_a_slow_connection_is_awaited_and_a_lost_one_is_not(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker sends the response to a call after all prefetched messages, which take 5 s."""
    monkeypatch.setattr(consumers_broker, "_CALL_TIMEOUT_S", 1.0)
    await broker.publish(*[run_event(f"run_{number}", [result("x" * 1_000)] * 60) for number in range(8)])
    async with (
        UnreliableProxy(broker.url) as proxy,
        await connect(proxy.url) as connection,
        connection.opened_channel() as channel,
    ):
        queue = await connection.call(channel.get_queue(broker.topology.runs_queue))
        proxy.bytes_per_s = 100_000
        await queue.consume(ignore)
        started = asyncio.get_running_loop().time()
        await connection.call(channel.declare_queue(queue.name, passive=True))
        assert asyncio.get_running_loop().time() - started > 2
        proxy.stall_connections()
        with pytest.raises(TimeoutError):
            await connection.call(channel.declare_queue(queue.name, passive=True))


async def test_closed_connection_makes_no_progress(amqp_url: str) -> None:
    """An error would leave the call without an await. uvloop has no socket, or one with the number -1."""
    connection = await connect(amqp_url)
    connection.terminate()
    assert connection.observe_progress(1.0)() is False
    with pytest.raises(LOSSES):
        async with losses_of(connection):
            await connection.call(connection.channel().initialize())
    assert connection.observe_progress(1.0)() is False
    assert observe_progress(None, 1.0)() is False
