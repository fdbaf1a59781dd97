"""One consumer process: puts its roles together, says that they are alive, stops on a signal."""

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Final

import uvloop

from consumers import metrics
from consumers.broker import BrokerTask, run_on_broker
from consumers.loops import Loop
from consumers.relay import EmbeddedQueue
from consumers.roles import ROLES, ConsumerRole, RoleContext, RoleWorkload
from consumers.topology import Topology
from consumers.worker import BatchConsumer
from service import log as logging
from service.log import log
from service.resources import MissingSetting, check_database, database_pool
from service.settings import Settings
from service.stopping import stop_on_signals
from service.store import heartbeats
from service.store.postgres.database import Pool, is_outage

_BEAT_S: Final = 5.0
_LEAST_CONNECTIONS: Final = 6

# A batch makes tens of thousands of short-lived objects that hold no cycles: looking through them for some at the
# default pace took a seventh of all the time of ingest.
_GC_THRESHOLDS: Final = (20_000, 5, 5)


def run(settings: Settings, roles: Sequence[ConsumerRole]) -> None:
    """Runs these roles until SIGTERM or SIGINT; a second signal ends it at once."""
    logging.set_up(settings.log_level)
    gc.set_threshold(*_GC_THRESHOLDS)
    with metrics.served(settings.http_host, settings.metrics_port):
        uvloop.run(_main(settings, roles))


async def _main(settings: Settings, roles: Sequence[ConsumerRole]) -> None:
    stopping = stop_on_signals(end_on_second=True)
    _check_pool(settings)
    await check_database(settings, "results_worker")
    async with database_pool(settings, "results_worker") as pool, AsyncExitStack() as opened:
        context = RoleContext(settings, pool, Topology(settings.queue_prefix), stopping, opened)
        workloads = [await ROLES[role](context) for role in roles]
        log.info("consumers_started", roles=list(roles), pid=os.getpid(), broker=bool(settings.amqp_url))
        async with asyncio.TaskGroup() as group:
            beats = [group.create_task(_beat(pool, role)) for role in roles]
            await _run_all(
                [_delivering(context, workloads), *(loop for workload in workloads for loop in workload.loops)]
            )
            for beat in beats:
                beat.cancel()
    log.info("consumers_stopped", roles=list(roles))


def _check_pool(settings: Settings) -> None:
    """With fewer, those that listen and those that wait for a second one would hold them all, and stand still."""
    if settings.database_pool_size < _LEAST_CONNECTIONS:
        raise MissingSetting(f"RESULTS_DATABASE_POOL_SIZE: a consumer needs {_LEAST_CONNECTIONS} or more")


async def _run_all(loops: Sequence[Loop]) -> None:
    """Until all have returned. The first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        for loop in loops:
            group.create_task(_run_one(loop))


async def _run_one(loop: Loop) -> None:
    await loop()


def _delivering(context: RoleContext, workloads: Sequence[RoleWorkload]) -> Loop:
    """Brings messages to the handlers: through the broker, or without one straight from the outbox."""
    url = context.settings.amqp_url
    if url is None:
        handlers = {name: handle for workload in workloads for name, handle in workload.queues.items()}
        return EmbeddedQueue(context.pool, handlers, context.stopping).run
    lanes = list(_on_broker(context, workloads))
    if not lanes:
        return _nothing
    return lambda: run_on_broker(url, context.topology, lanes, context.stopping)


async def _nothing() -> None:
    """A process without queues needs no broker."""


def _on_broker(context: RoleContext, workloads: Sequence[RoleWorkload]) -> Iterator[BrokerTask]:
    for workload in workloads:
        yield from workload.on_broker
        for name, handle in workload.queues.items():
            for _ in range(workload.lanes):
                yield BatchConsumer(context.topology, context.topology.job_queue(name), handle, context.stopping)


async def _beat(pool: Pool, role: ConsumerRole) -> None:
    """Says every few seconds that the role is alive."""
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{role}"
    try:
        while True:
            await _unless_out(heartbeats.record_heartbeat(pool, worker_id, role))
            await asyncio.sleep(_BEAT_S)
    finally:
        await _unless_out(heartbeats.delete_heartbeat(pool, worker_id))


async def _unless_out(workload: Awaitable[None]) -> None:
    """An outage of the store is the lanes' to report and to wait out."""
    try:
        await workload
    except Exception as error:
        if not is_outage(error):
            raise
