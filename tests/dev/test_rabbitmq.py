"""Tests of the private RabbitMQ node: isolation, persistence, and shutdown."""

import asyncio
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aio_pika
import pytest

from service.dev.ports import is_free
from service.dev.rabbitmq import RabbitMQ, accepts_amqp, server_program, stores_messages


@pytest.fixture
def broker(amqp_url: str, tmp_path: Path) -> Iterator[RabbitMQ]:
    """A second node in addition to that of the test session."""
    with RabbitMQ(tmp_path / "node with spaces") as node:
        yield node


@pytest.mark.slow
async def test_restarted_node_has_its_messages_and_address(broker: RabbitMQ) -> None:
    url = broker.url
    await publish(url, b"saved")
    broker.restart()
    assert broker.url == url
    assert await receive(url) == b"saved"
    broker.stop()
    assert not accepts_amqp("127.0.0.1", broker.port)
    assert is_free(broker.port)
    assert processes_of(broker.directory) == []


async def test_broker_that_rejects_clients_is_recognized(amqp_url: str) -> None:
    assert await stores_messages(amqp_url)
    assert not await stores_messages(f"amqp://unknown:wrong@{amqp_url.rpartition('@')[2]}")
    assert not await stores_messages("amqp://127.0.0.1:9/")


@pytest.mark.slow
async def test_broker_that_stores_no_messages_is_recognized(broker: RabbitMQ) -> None:
    """After a full disk, a node can accept clients although its quorum queues have stopped."""
    assert await stores_messages(broker.url)
    command = [str(Path(server_program()).with_name("rabbitmqctl")), "eval", "application:stop(ra)."]
    stopping = partial(subprocess.run, command, env=broker._environment(), check=True, capture_output=True, timeout=60)
    await asyncio.to_thread(stopping)
    connection = await aio_pika.connect(broker.url)
    async with connection, connection.channel():
        assert not await stores_messages(broker.url)


async def publish(url: str, body: bytes) -> None:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue("saved", durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)


async def receive(url: str) -> bytes:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.get_queue("saved")
        message = await queue.get(no_ack=True)
        return message.body


def processes_of(directory: Path) -> list[str]:
    """Return the processes that use this directory: the broker, its helper processes, and epmd."""
    return [environ.parent.name for environ in Path("/proc").glob("[0-9]*/environ") if _contains(environ, directory)]


def _contains(environ: Path, directory: Path) -> bool:
    try:
        return f"RABBITMQ_LOG_BASE={directory}".encode() in environ.read_bytes()
    except OSError:
        return False
