"""One consumer process: opens what its roles need, says that it is alive, stops on a signal."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Sequence
from typing import Final, Literal, get_args

import asyncpg
import uvloop

from consumers.broker import keep_consuming
from consumers.runs import runs_handler
from consumers.topology import Topology
from consumers.worker import Lane
from service import log as logging
from service.log import log
from service.resources import amqp_url, database_pool
from service.settings import Settings
from service.store import heartbeats
from service.store.database import is_outage
from service.usecases.ingest_runs import RunIngest

Role = Literal["runs"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

_BEAT_S: Final = 5.0


def run(settings: Settings, roles: Sequence[Role]) -> None:
    """Runs these roles until SIGTERM or SIGINT; a second signal ends it at once."""
    logging.set_up(settings.log_level)
    uvloop.run(_main(settings, roles))


async def _main(settings: Settings, roles: Sequence[Role]) -> None:
    stopping = _stop_on_signals()
    topology = Topology(settings.queue_prefix)
    url = amqp_url(settings)
    async with database_pool(settings, "results_worker") as pool:
        handle = runs_handler(RunIngest(pool, settings.retention))
        lanes = [Lane(topology, topology.runs_queue, handle, stopping) for _ in range(settings.consumer_lanes)]
        log.info("consumers_started", roles=list(roles), pid=os.getpid())
        async with asyncio.TaskGroup() as group:
            beats = [group.create_task(_beat(pool, role)) for role in roles]
            await keep_consuming(url, topology, lanes, stopping)
            for beat in beats:
                beat.cancel()
    log.info("consumers_stopped", roles=list(roles))


def _stop_on_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopping.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopping


async def _beat(pool: asyncpg.Pool, role: Role) -> None:
    """Says every few seconds that the role is alive."""
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{role}"
    try:
        while True:
            await _unless_out(heartbeats.beat(pool, worker_id, role))
            await asyncio.sleep(_BEAT_S)
    finally:
        await _unless_out(heartbeats.leave(pool, worker_id))


async def _unless_out(work: Awaitable[None]) -> None:
    """An outage of the store is the lanes' to report and to wait out."""
    try:
        await work
    except Exception as error:
        if not is_outage(error):
            raise
