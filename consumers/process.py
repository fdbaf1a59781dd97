"""A consumer process: assembles its roles, writes their heartbeats, and drains on SIGTERM."""

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import chain
from typing import Final

import uvloop

from consumers import metrics
from consumers.broker import BrokerTask, probe_servers, run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.isolation import Isolation
from consumers.loops import Loop, run_until_drained
from consumers.relay import EmbeddedQueue
from consumers.roles import ROLES, RoleContext, RoleWorkload
from consumers.topology import Topology
from service import log as logging
from service.database.database import Pool
from service.database.errors import is_outage
from service.log import log
from service.processes import (
    MissingSetting,
    check_storage,
    database_pool,
    database_url,
    open_storage,
    tracing,
    wait_for_schema,
)
from service.settings import Settings, names_in_use, unknown_variables
from service.stopping import Stopped, raise_if_canceled, run_all, stop_on_signals
from service.tasks import store as tasks_store
from service.tasks.model import ConsumerRole
from service.tasks.store import CrashSuspects
from service.version import find_build

_HEARTBEAT_S: Final = 5.0
_CHECK_S: Final = 0.5
_MIN_CONNECTIONS: Final = 6

# A batch creates tens of thousands of short-lived objects without cycles. With the default thresholds, the garbage
# collector used a seventh of the total time of ingest. It also ignores the objects that were created at startup.
_GC_THRESHOLDS: Final = (20_000, 5, 5)


def run(settings: Settings, roles: Sequence[ConsumerRole]) -> None:
    """Run these roles until SIGTERM or SIGINT, then drain. A second signal ends the process immediately."""
    logging.set_up(settings.log_level)
    logging.log_unknown_settings(unknown_variables(names_in_use()))
    gc.set_threshold(*_GC_THRESHOLDS)
    with metrics.serving_metrics(settings.http_host, settings.metrics_port):
        uvloop.run(_main(settings, roles))


async def _main(settings: Settings, roles: Sequence[ConsumerRole]) -> None:
    stopping = stop_on_signals(end_on_second=True)
    _check_pool_size(settings)
    _check_broker_settings(settings)
    try:
        await wait_for_schema(settings, "results_worker", stopping)
    except Stopped:
        return
    await check_storage(open_storage(settings))
    async with AsyncExitStack() as opened:
        opened.enter_context(tracing("consumers"))
        pool = await opened.enter_async_context(database_pool(settings, "results_worker"))
        context = RoleContext(settings, pool, Topology(settings.queue_prefix), stopping, opened)
        workloads = [await ROLES[role](context) for role in roles]
        gc.collect()
        gc.freeze()
        log.info(
            "consumers_started", roles=list(roles), pid=os.getpid(), broker=bool(settings.amqp_url), **find_build()
        )
        tasks = [list(_broker_tasks(context, workload)) for workload in workloads]
        heartbeat_work = run_all(
            [
                _write_heartbeats(pool, role, [] if workload.polls_tasks else tasks_of_role)
                for role, workload, tasks_of_role in zip(roles, workloads, tasks, strict=True)
            ],
            pool.terminate,
        )
        loops = [loop for workload in workloads for loop in workload.loops]
        message_loop = _message_loop(context, workloads, list(chain.from_iterable(tasks)))
        running = run_until_drained([message_loop, *loops], stopping, pool.terminate)
        await run_all([running], pool.terminate, heartbeat_work)
    log.info("consumers_stopped", roles=list(roles))


def _check_pool_size(settings: Settings) -> None:
    """Raise MissingSetting if the listening connections, and tasks that need two connections, could deadlock."""
    if settings.database_pool_size < _MIN_CONNECTIONS:
        raise MissingSetting(f"RESULTS_DATABASE_POOL_SIZE: a consumer needs {_MIN_CONNECTIONS} or more")


def _check_broker_settings(settings: Settings) -> None:
    """Raise MissingSetting if a setting separates events by size, or requires their producers, without a broker."""
    if settings.producer_identity == "required" and settings.amqp_url is None:
        raise MissingSetting(
            "RESULTS_PRODUCER_IDENTITY: required needs RESULTS_AMQP_URL, because only RabbitMQ verifies producers"
        )
    if settings.event_sizes != "all" and settings.amqp_url is None:
        raise MissingSetting(
            f"RESULTS_EVENT_SIZES: {settings.event_sizes} needs RESULTS_AMQP_URL, because the embedded queue doesn't"
            " separate events by size"
        )


def _message_loop(context: RoleContext, workloads: Sequence[RoleWorkload], tasks: Sequence[BrokerTask]) -> Loop:
    """Return the loop that passes messages to the handlers: from the broker or, without one, from the outbox."""
    url = context.settings.amqp_url
    if url is None:
        handlers = {name: handle for workload in workloads for name, handle in workload.queues.items()}
        return EmbeddedQueue(context.pool, handlers, context.stopping).run
    if not tasks:
        return _return_immediately
    probe = partial(probe_servers, url, database_url(context.settings))
    return lambda: run_on_broker(url, context.topology, tasks, context.stopping, probe)


async def _return_immediately() -> None:
    """Replace the message loop in a process without queues, which needs no broker."""


def _broker_tasks(context: RoleContext, workload: RoleWorkload) -> Iterator[BrokerTask]:
    """Return the tasks of a role that use the broker; none without a broker."""
    if context.settings.amqp_url is None:
        return
    suspects, clock_s = CrashSuspects(context.pool), asyncio.get_running_loop().time
    yield from workload.broker_tasks
    for name, handle in workload.queues.items():
        isolation = Isolation(suspects, clock_s)
        new_consumer = partial(
            BatchConsumer, context.topology, context.topology.queue(name), handle, isolation, context.stopping
        )
        if workload.sizes != "large":
            yield new_consumer("small" if workload.sizes else "mixed", workload.concurrent_batches)
        if workload.sizes in ("large", "all"):
            yield new_consumer("large")


async def _write_heartbeats(pool: Pool, role: ConsumerRole, needed: Sequence[BrokerTask]) -> None:
    """Write a heartbeat of the role every few seconds until canceled, then delete it.

    No heartbeat while one of the needed tasks isn't connected: `/readyz` and the metrics count the workers that work.
    """
    worker_id = f"{socket.gethostname()}:{os.getpid()}:{role}"
    try:
        while True:
            is_working = all(task.is_connected for task in needed)
            if is_working:
                await _log_failure(role, tasks_store.record_heartbeat(pool, worker_id, role))
            await asyncio.sleep(_HEARTBEAT_S if is_working else _CHECK_S)
    finally:
        await _log_failure(role, tasks_store.delete_heartbeat(pool, worker_id))


async def _log_failure(role: ConsumerRole, work: Awaitable[None]) -> None:
    """Log the error of a heartbeat, which never stops the work of the process.

    An outage isn't logged: the loops report it and retry.
    """
    try:
        await work
    except Exception as error:
        raise_if_canceled()
        if not is_outage(error):
            log.warning("heartbeat_failed", role=role, error=repr(error))
