"""The connection of a process to RabbitMQ, which is opened again after each loss."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NoReturn, Protocol

from aio_pika.exceptions import ChannelPreconditionFailed

from consumers.connections import BrokerConnection, connect
from consumers.loops import LONGEST_DELAY_S
from consumers.losses import LOSSES, losses_of
from consumers.metrics import BROKER_LOSSES
from consumers.topology import Topology
from consumers.watchdog import ConsumerStalled, watch_progress
from service.domain.backoff import Backoff
from service.log import log
from service.retries import with_retries
from service.stopping import Stopped, run_all

_DECLARE_EVERY_S: Final = 30.0


class TopologyMismatch(Exception):
    """The broker has a queue or exchange with other arguments. The message names it."""


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
