"""The private RabbitMQ node: runs beside any other, keeps messages and port, leaves nothing running."""

from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest

from service.dev.ports import is_free
from service.dev.rabbitmq import RabbitMQ, answers_amqp


@pytest.fixture
def broker(amqp_url: str, tmp_path: Path) -> Iterator[RabbitMQ]:
    """A node beside the one that the whole session uses."""
    with RabbitMQ(tmp_path / "node of its own") as node:
        yield node


@pytest.mark.slow
async def test_restarted_node_has_its_messages_at_the_same_address(broker: RabbitMQ) -> None:
    url = broker.url
    await publish(url, b"kept")
    broker.restart()
    assert broker.url == url
    assert await take(url) == b"kept"
    broker.stop()
    assert not answers_amqp("127.0.0.1", broker.port)
    assert is_free(broker.port)
    assert leftovers(broker.directory) == []


async def publish(url: str, body: bytes) -> None:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, queue.name)


async def take(url: str) -> bytes:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        queue = await channel.get_queue("kept")
        message = await queue.get(no_ack=True)
        return message.body


def leftovers(directory: Path) -> list[str]:
    """Processes that have this directory as their home: the broker, its helpers, epmd."""
    return [environ.parent.name for environ in Path("/proc").glob("[0-9]*/environ") if _mentions(environ, directory)]


def _mentions(environ: Path, directory: Path) -> bool:
    try:
        return f"RABBITMQ_LOG_BASE={directory}".encode() in environ.read_bytes()
    except OSError:
        return False
