"""The watchdog of a process: messages without progress, although the servers respond, end the connection.

Every call of a driver has a limit, so this is the last resort. The broker then delivers the messages again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from aio_pika import Message

from consumers.connections import BrokerConnection, connect
from service.log import log
from service.stopping import end_tasks
from service.store.postgres.connections import ping

STALLED_S: Final = 65.0  # longer than the timeout of a statement, after which a batch is retried

_CHECK_S: Final = 5.0
_PROBE_TIMEOUT_S: Final = 10.0
_NO_QUEUE: Final = "results.probe"  # a routing key without a queue


class ConsumerStalled(Exception):
    """A consumer has received messages that make no progress, although the servers respond."""


async def watch_progress(unchanged_s: Callable[[], float], probe_servers: Callable[[], Awaitable[None]]) -> NoReturn:
    """Raise ConsumerStalled if messages have made no progress for about a minute, and the servers respond."""
    while True:
        await asyncio.sleep(_CHECK_S)
        if unchanged_s() > STALLED_S and await _respond(probe_servers) and unchanged_s() > STALLED_S:
            log.error("consumer_stalled", unchanged_s=round(unchanged_s()))
            raise ConsumerStalled(f"messages made no progress for {unchanged_s():.0f} s")


async def probe_servers(amqp_url: str, database_url: str) -> None:
    """Raise an error if RabbitMQ doesn't confirm a message, or PostgreSQL doesn't respond, on a new connection."""
    await ping(database_url)
    async with await connect(amqp_url) as connection:
        await _publish(connection)


async def _publish(connection: BrokerConnection) -> None:
    """Publish a message that no queue receives. During an alarm of a resource, the broker doesn't confirm it."""
    async with connection.opened_channel(publisher_confirms=True) as channel:
        await channel.default_exchange.publish(Message(b""), routing_key=_NO_QUEUE, mandatory=False)


async def _respond(probe_servers: Callable[[], Awaitable[None]]) -> bool:
    probing = asyncio.ensure_future(probe_servers())
    try:
        await asyncio.wait({probing}, timeout=_PROBE_TIMEOUT_S)
        return probing.done() and not probing.cancelled() and probing.exception() is None
    finally:
        await end_tasks([probing])
