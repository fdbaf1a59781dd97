"""The connection of a process to RabbitMQ, which is opened again after each loss."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NoReturn, Protocol, TypeVar

import aio_pika
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    ConnectionClosed,
)

from consumers.aiormq_internals import TransportConnection, is_closed
from consumers.loops import LONGEST_DELAY_S
from consumers.metrics import BROKER_LOSSES
from consumers.topology import Topology
from service.database.connections import ping
from service.domain.addresses import split_hosts
from service.domain.backoff import Backoff
from service.log import log
from service.retries import with_alternatives, with_retries
from service.stopping import Stopped, end_tasks, run_all, within

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 10
_DEFAULT_USER: Final = "guest"  # of the library
_CALL_TIMEOUT_S: Final = 45.0  # longer than the time after which a half-open connection is lost
_CLOSE_TIMEOUT_S: Final = 5.0
_HEARTBEAT_S: Final = 10  # a half-open connection is lost after three heartbeats; the default takes three minutes
_DECLARE_EVERY_S: Final = 30.0

STALLED_S: Final = 65.0  # longer than the timeout of a statement, after which a batch is retried
_CHECK_S: Final = 5.0
_PROBE_TIMEOUT_S: Final = 10.0
_NO_QUEUE: Final = "results.probe"  # a routing key without a queue


class ConsumerLost(Exception):
    """The broker must deliver the messages again, on a new connection."""


class ConsumerStalled(Exception):
    """A consumer has received messages that make no progress, although the servers respond."""


class TopologyMismatch(Exception):
    """The broker has a queue or exchange with other arguments. The message names it."""


BROKER_ERRORS: Final = (AMQPError, ChannelInvalidStateError, ConsumerLost)
LOSSES: Final = (*BROKER_ERRORS, OSError, TimeoutError)


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


@asynccontextmanager
async def losses_of(connection: AbstractConnection) -> AsyncIterator[None]:
    """Convert any error of a closed connection to ConsumerLost. The library raises various types or cancels calls."""
    try:
        yield
    except LOSSES:
        raise
    except asyncio.CancelledError as error:
        if is_cancel_requested():
            raise
        raise ConsumerLost("the connection was closed during a call") from error
    except Exception as error:
        if not is_closed(connection) or isinstance(error, Stopped):
            raise
        raise ConsumerLost(f"the connection was closed: {error!r}") from error


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


class BrokerTask(Protocol):
    """A task that uses a connection to the broker: a batch consumer or the relay."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker accepts messages of the task, or has confirmed its subscription."""

    async def run(self, connection: BrokerConnection) -> None:
        """Run until the process must stop. Raises an error if the broker is lost."""

    def unchanged_s(self) -> float:
        """Return how long messages that the task has received made no progress; 0 without messages."""


async def _assume_responding() -> None:
    """Replace the probe of the servers."""


async def run_on_broker(
    url: str,
    topology: Topology,
    tasks: Sequence[BrokerTask],
    stopping: asyncio.Event,
    probe_servers: Callable[[], Awaitable[None]] = _assume_responding,
) -> None:
    """Run the tasks until the process must stop, on a new connection after each loss of the broker.

    If a task makes no progress with its messages, and `probe_servers` raises no error, the tasks also get a new
    connection. Queues and exchanges that were deleted are declared again. Exits the process if the broker has one with
    other arguments than the topology.
    """
    backoff = Backoff(0.2, LONGEST_DELAY_S)

    def unchanged_s() -> float:
        return max([task.unchanged_s() for task in tasks], default=0.0)

    async def connect_and_run() -> None:
        async with await connect(url) as connection:
            await _declare(connection, topology)
            log.info("broker_connected")
            backoff.reset()
            works = [_run_task(task, connection) for task in tasks]
            guards = watch_progress(unchanged_s, probe_servers), _keep_declared(connection, topology)
            await run_all(works, connection.terminate, run_all(guards))

    if stopping.is_set():
        return
    try:
        with suppress(Stopped):
            await with_retries(connect_and_run, _is_loss, backoff, stopping, _report_loss)
    except TopologyMismatch as mismatch:
        raise SystemExit(str(mismatch)) from None


def _is_loss(error: Exception) -> bool:
    return isinstance(error, (*LOSSES, ConsumerStalled))


def _report_loss(error: Exception, delay_s: float) -> None:
    BROKER_LOSSES.inc()
    log.warning("broker_connection_lost", error=repr(error), delay_s=round(delay_s, 1))


async def _keep_declared(connection: BrokerConnection, topology: Topology) -> NoReturn:
    """Declare what was deleted: the consumers notice only the loss of the queues to which they are subscribed."""
    while True:
        await asyncio.sleep(_DECLARE_EVERY_S)
        await _declare(connection, topology)


async def _declare(connection: BrokerConnection, topology: Topology) -> None:
    try:
        async with losses_of(connection), connection.opened_channel() as channel:
            await connection.call(topology.declare(channel))
    except ChannelPreconditionFailed as error:  # from any other call, it's a loss, such as an acknowledgment too late
        raise TopologyMismatch(f"the broker has a queue or exchange with other arguments: {error}") from error


async def _run_task(task: BrokerTask, connection: BrokerConnection) -> None:
    async with losses_of(connection):
        await task.run(connection)
