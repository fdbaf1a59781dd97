"""Broker requests of the local stack: whether a queue has consumers, and publishing of sample events."""

from collections.abc import Iterable

import aio_pika
from aio_pika.exceptions import AMQPException


async def has_consumers(amqp_url: str, queue: str) -> bool:
    """Return whether the queue exists and has a consumer; False if the broker is unreachable."""
    try:
        connection = await aio_pika.connect(amqp_url)
        async with connection, connection.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return bool(declared.declaration_result.consumer_count)
    except (AMQPException, OSError):
        return False


async def publish(amqp_url: str, exchange: str, routing_key: str, bodies: Iterable[bytes]) -> None:
    """Publish persistent CloudEvents with publisher confirms. Raises if an event is routed to no queue."""
    connection = await aio_pika.connect(amqp_url)
    async with connection, connection.channel(on_return_raises=True) as channel:
        target = await channel.get_exchange(exchange)
        for body in bodies:
            await target.publish(_message(body), routing_key, mandatory=True)


def _message(body: bytes) -> aio_pika.Message:
    return aio_pika.Message(
        body, content_type="application/cloudevents+json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )
