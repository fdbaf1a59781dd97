"""Broker requests of the local stack: checks of clients and consumers, and publishing of sample events."""

import asyncio
from collections.abc import Iterable
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPException
from pamqp.common import FieldTable

from service.domain.hosts import split_hosts
from service.retries import with_alternatives

_TIMEOUT_S: Final = 5.0
_PROBE_QUEUE: Final = "zof-results.dev.probe"
_PROBE_ARGUMENTS: Final[FieldTable] = {"x-queue-type": "quorum", "x-max-length": 1}


async def stores_messages(amqp_url: str) -> bool:
    """Return whether a client can log in, and the broker confirms that it has stored a message.

    After a full disk, a broker can accept clients although its quorum queues never recover.
    """
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            connection = await _connect(amqp_url)
            try:
                channel = await connection.channel()
                queue = await channel.declare_queue(_PROBE_QUEUE, durable=True, arguments=_PROBE_ARGUMENTS)
                await channel.default_exchange.publish(_message(b""), queue.name, mandatory=True)
            finally:
                await connection.close()
            return True
    except (AMQPException, OSError):
        return False


async def has_consumers(amqp_url: str, queue: str) -> bool:
    """Return whether the queue exists and has a consumer; False if the broker is unreachable."""
    try:
        connection = await _connect(amqp_url)
        async with connection, connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return bool(declared.declaration_result.consumer_count)
    except (AMQPException, OSError):
        return False


async def publish(
    amqp_url: str, exchange: str, routing_key: str, bodies: Iterable[bytes], user: str | None = None
) -> None:
    """Publish persistent CloudEvents with publisher confirms. Raises if an event is routed to no queue.

    `user` is the user of the connection, which the messages state.
    """
    connection = await _connect(amqp_url)
    async with connection, connection.channel(on_return_raises=True) as channel:
        target = await channel.get_exchange(exchange)
        for body in bodies:
            await target.publish(_message(body, user), routing_key, mandatory=True)


async def _connect(amqp_url: str) -> AbstractConnection:
    """Connect to the first host of the URL that responds."""
    return await with_alternatives(
        aio_pika.connect, split_hosts(amqp_url), lambda error: isinstance(error, AMQPException | OSError)
    )


def _message(body: bytes, user: str | None = None) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        content_type="application/cloudevents+json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        user_id=user,
    )
