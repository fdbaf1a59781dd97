"""Keeps a connection to RabbitMQ for as long as a process lives, over any number of losses."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, ChannelPreconditionFailed

from consumers import worker
from consumers.metrics import BROKER_LOSSES
from consumers.topology import Topology
from consumers.worker import ConsumerLost, Stopped
from service.domain.backoff import backoff_delays
from service.log import log

_CONNECT_TIMEOUT_S: Final = 10
_LONGEST_WAIT_S: Final = 15.0
_LOSSES: Final = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, ConsumerLost)


class BrokerTask(Protocol):
    """What lives on a connection to the broker: a lane, the relay."""

    async def run(self, connection: AbstractConnection) -> None:
        """Until told to stop. Raises where the broker is lost."""


async def run_on_broker(url: str, topology: Topology, lanes: Sequence[BrokerTask], stopping: asyncio.Event) -> None:
    """Runs the lanes until told to stop. Exits the process where the broker has the topology otherwise."""
    pauses = backoff_delays(0.2, _LONGEST_WAIT_S)
    while not stopping.is_set():
        try:
            async with await aio_pika.connect(url, timeout=_CONNECT_TIMEOUT_S) as connection:
                await worker.declare(connection, topology)
                log.info("broker_connected")
                pauses = backoff_delays(0.2, _LONGEST_WAIT_S)
                await _run_lanes(connection, lanes)
        except ChannelPreconditionFailed as mismatch:
            raise SystemExit(f"the broker has a queue or exchange declared otherwise: {mismatch}") from None
        except Stopped:
            return
        except _LOSSES as loss:
            BROKER_LOSSES.inc()
            wait_s = next(pauses)
            log.warning("broker_lost", error=repr(loss), wait_s=round(wait_s, 1))
            await asyncio.wait({asyncio.ensure_future(stopping.wait())}, timeout=wait_s)


async def _run_lanes(connection: AbstractConnection, lanes: Sequence[BrokerTask]) -> None:
    """Until all have stopped. The first that fails ends the others, and its error is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(lane.run(connection))
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
