"""Connections to RabbitMQ."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import AMQPError, ChannelClosed, ConnectionClosed

from consumers.aiormq_internals import TransportConnection
from service.domain.hosts import split_hosts
from service.log import log
from service.retries import with_alternatives
from service.stopping import within

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 10
_DEFAULT_USER: Final = "guest"  # of the library
_CALL_TIMEOUT_S: Final = 45.0  # longer than the time after which a half-open connection is lost
_CLOSE_TIMEOUT_S: Final = 5.0
_HEARTBEAT_S: Final = 10  # a half-open connection is lost after three heartbeats; the default takes three minutes


class BrokerConnection(TransportConnection):
    """A connection whose calls end if the broker doesn't respond."""

    @property
    def user(self) -> str:
        """The user of the connection, which the broker permits as the `user_id` of messages."""
        return self.url.user or _DEFAULT_USER

    async def call(self, work: Awaitable[T]) -> T:
        """Return the result of a call. Terminate the connection if the broker doesn't respond.

        Raises TimeoutError then. A response can arrive after many MiB of messages, so a slow transfer extends the time.
        """
        return await within(_CALL_TIMEOUT_S, work, self.terminate, self.observe_progress(_CALL_TIMEOUT_S))

    @asynccontextmanager
    async def opened_channel(self, **options: bool) -> AsyncIterator[AbstractChannel]:
        """Open a channel during the block. Terminate the connection if the broker doesn't respond.

        Log why the broker closed the channel, because later calls only fail with "closed".
        """
        channel = self.channel(**options)
        channel.close_callbacks.add(_log_closure)
        await self.call(channel.initialize())
        try:
            yield channel
        finally:
            with suppress(TimeoutError):
                await within(_CLOSE_TIMEOUT_S, channel.close(), self.terminate)

    async def close(self, exc: Any = ConnectionClosed) -> None:
        """Close the connection. Terminate it if the broker doesn't respond within a few seconds."""
        with suppress(TimeoutError):
            await within(_CLOSE_TIMEOUT_S, super().close(exc), self.terminate)


async def connect(url: str) -> BrokerConnection:
    """Connect to a random host of the URL that responds. The connection repairs undecodable properties of messages.

    Raises AMQPError or OSError, also if the server at this address closes the connection or doesn't speak AMQP.
    """
    urls = split_hosts(url)
    return await with_alternatives(_connect, random.sample(urls, len(urls)), _is_unreachable)


async def _connect(url: str) -> BrokerConnection:
    try:
        return await aio_pika.connect(
            _with_heartbeat(url), timeout=CONNECT_TIMEOUT_S, connection_class=BrokerConnection
        )
    except (AMQPError, OSError):
        raise
    except asyncio.CancelledError as error:
        if is_cancel_requested():
            raise
        raise ConnectionResetError("the broker closed the connection") from error
    except Exception as error:  # the library raises various types for a response that isn't valid AMQP
        raise ConnectionError(f"the broker sent an invalid response: {error!r}") from error


def _is_unreachable(error: Exception) -> bool:
    return isinstance(error, AMQPError | OSError)


def _with_heartbeat(url: str) -> str:
    """Add the default heartbeat to a URL. The library ignores it if the URL already states one, which is first."""
    return f"{url}{'&' if '?' in url else '?'}heartbeat={_HEARTBEAT_S}"


def _log_closure(_: AbstractChannel | None, error: BaseException | None) -> None:
    if isinstance(error, ChannelClosed) and any(error.args):  # without arguments, this process has closed it
        log.warning("broker_channel_closed", error=repr(error))


def is_cancel_requested() -> bool:
    """Return whether the current task must stop. The library also cancels waiting calls if a connection is lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
