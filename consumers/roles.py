"""The consumer roles: one function per role returns the queues and loops that the role adds to its process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from consumers.broker import BrokerTask
from consumers.loops import Loop, PeriodicTask, periodic_loops
from consumers.messages import MessageHandler
from consumers.metrics import count_export, count_report, measured
from consumers.relay import Relay, numbering_loop
from consumers.runs import runs_handler
from consumers.tasks import TaskRunner
from consumers.topology import Topology
from consumers.webhooks import Dispatcher
from service.costs.roll_up import roll_up_costs
from service.database.database import Pool
from service.digests.publish_digests import publish_digests
from service.exports.run_export import Exporter
from service.exports.write_export import READERS, ExportWriter
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.outbound.webhooks import open_webhook_client
from service.processes import (
    check_secret_keys,
    database_pool,
    database_url,
    open_secret_cipher,
    open_storage,
    raise_descriptor_limit,
)
from service.quarantines.operations import publish_expired
from service.reports.ingest_reports import ReportIngester
from service.reports.store_report import ReportStore
from service.retention import cleanup
from service.retention.deletion import delete_expired_untrusted, delete_requested_projects
from service.retention.expiry import apply_retention
from service.retention.files import delete_orphaned_files, delete_orphaned_folders, delete_queued_files
from service.settings import Settings
from service.states.update_states import StateUpdater
from service.tasks.model import EXPORTS, REPORTS, RUNS, ConsumerRole, EventSizes


@dataclass(frozen=True, slots=True)
class RoleContext:
    """The resources of a process that its roles use."""

    settings: Settings
    pool: Pool  # as results_worker
    topology: Topology
    stopping: asyncio.Event
    opened: AsyncExitStack  # closes the resources that a role opens, when the process stops


@dataclass(frozen=True, slots=True)
class RoleWorkload:
    """The queues and loops that a role adds to its process. With the embedded queue, one loop serves all queues."""

    queues: Mapping[str, MessageHandler] = field(default_factory=dict)
    concurrent_batches: int = 1  # of each queue on the broker
    sizes: EventSizes | None = None  # on the broker: a consumer of its own handles large messages; None: one for both
    broker_tasks: Sequence[BrokerTask] = ()
    loops: Sequence[Loop] = ()
    polls_tasks: bool = False  # finds its work in the database, also without the broker


async def _runs(context: RoleContext) -> RoleWorkload:
    settings = context.settings
    store = BatchStore(
        context.pool, settings.retention, settings.link_base, settings.storage_url, settings.event_max_results,
        requires_producer=settings.producer_identity == "required",
    )  # fmt: skip
    handle = runs_handler(RunIngest(store, context.stopping))
    return RoleWorkload({RUNS: handle}, concurrent_batches=settings.consumer_channels, sizes=settings.event_sizes)


async def _reports(context: RoleContext) -> RoleWorkload:
    ingester = _report_ingester(context)
    context.opened.push_async_callback(ingester.close)
    ingest = measured(ingester.ingest, count_report)
    runner = TaskRunner("reports", ingester.lease, ingest, ingester.slots, context.stopping)
    periodic = [PeriodicTask("orphaned_folders", 3_600, partial(delete_orphaned_folders, context.pool))]
    loops = [runner.run, *periodic_loops(periodic, context.stopping)]
    return RoleWorkload({REPORTS: runner.handle}, loops=loops, polls_tasks=True)


async def _relay(context: RoleContext) -> RoleWorkload:
    return RoleWorkload(
        broker_tasks=[Relay(context.pool, context.topology, context.stopping)],
        loops=[numbering_loop(context.pool, context.stopping)],
    )


async def _webhooks(context: RoleContext) -> RoleWorkload:
    policy = context.settings.delivery_policy
    opening = open_webhook_client(policy.attempt_timeout_s, context.settings.webhook_addresses)
    client, cipher = await context.opened.enter_async_context(opening), open_secret_cipher(context.settings)
    await check_secret_keys(context.pool, cipher)
    raise_descriptor_limit()  # the client has open connections to each endpoint
    dispatcher = Dispatcher(context.pool, client, cipher, policy, context.stopping, context.settings.link_base)
    return RoleWorkload(loops=[dispatcher.run])


async def _exports(context: RoleContext) -> RoleWorkload:
    settings = context.settings
    exporter = await _exporter(context)
    lease = partial(exporter.lease, settings.exports_per_organization)
    run = measured(exporter.run, count_export)
    runner = TaskRunner("exports", lease, run, settings.export_slots, context.stopping)
    return RoleWorkload({EXPORTS: runner.handle}, loops=[runner.run], polls_tasks=True)


async def _upkeep(context: RoleContext) -> RoleWorkload:
    exporter = await _exporter(context)
    settings, storage = context.settings, open_storage(context.settings)
    retain = partial(apply_retention, context.pool, storage, database_url(settings), settings.retention_policy)
    delete_minutes = partial(cleanup.delete_expired_minutes, context.pool, settings.retention_policy.results)
    tasks = (
        PeriodicTask("case_states", 1, StateUpdater(context.pool, settings.link_base).update),
        PeriodicTask("costs", 60, partial(roll_up_costs, context.pool, settings.retention_policy.results)),
        PeriodicTask("abandoned_exports", 10, exporter.fail_abandoned),
        PeriodicTask("abandoned_reports", 10, _report_ingester(context).reject_abandoned),
        PeriodicTask("expired_exports", 60, exporter.expire_files),
        PeriodicTask("deleted_projects", 5, partial(delete_requested_projects, context.pool)),
        PeriodicTask("deleted_files", 5, partial(delete_queued_files, context.pool, storage)),
        PeriodicTask("orphaned_files", 3_600, partial(delete_orphaned_files, context.pool, storage)),
        PeriodicTask("stuck_writers", 15, partial(cleanup.terminate_stuck_writers, context.pool)),
        PeriodicTask("expired_usage", 3_600, partial(cleanup.delete_expired_usage, context.pool)),
        PeriodicTask("expired_responses", 3_600, partial(cleanup.delete_expired_responses, context.pool)),
        PeriodicTask("expired_sessions", 3_600, partial(cleanup.delete_expired_sessions, context.pool)),
        PeriodicTask("expired_keys", 3_600, partial(cleanup.delete_expired_keys, context.pool)),
        PeriodicTask("outdated_exchanges", 300, partial(cleanup.delete_outdated_exchanges, context.pool)),
        PeriodicTask("retention", 3_600, retain),
        PeriodicTask("expired_untrusted_runs", 3_600, partial(delete_expired_untrusted, context.pool)),
        PeriodicTask("expired_minutes", 24 * 3_600, delete_minutes),
        PeriodicTask("expired_events", 3_600, partial(cleanup.delete_expired_events, context.pool)),
        PeriodicTask("expired_quarantines", 10, partial(publish_expired, context.pool)),
        PeriodicTask("digests", 600, partial(publish_digests, context.pool, settings.link_base)),
        PeriodicTask("expired_splits", 3_600, partial(cleanup.delete_expired_splits, context.pool)),
        PeriodicTask("expired_receipts", 3_600, partial(cleanup.delete_expired_receipts, context.pool)),
    )
    return RoleWorkload(loops=periodic_loops(tasks, context.stopping))


async def _exporter(context: RoleContext) -> Exporter:
    settings = context.settings
    # One connection for each reader of each export: with fewer, exports that wait for others deadlock.
    connections = settings.export_slots * READERS
    rows = await context.opened.enter_async_context(database_pool(settings, "results_api", connections))
    writer = ExportWriter(rows, database_url(settings))
    return Exporter(context.pool, writer, open_storage(settings), settings.link_base)


def _report_ingester(context: RoleContext) -> ReportIngester:
    settings = context.settings
    store = ReportStore(context.pool, settings.retention, settings.link_base)
    return ReportIngester(context.pool, open_storage(settings), store, settings.report_limits, settings.report_slots)


ROLES: Final[Mapping[ConsumerRole, Callable[[RoleContext], Awaitable[RoleWorkload]]]] = {
    "runs": _runs,
    "reports": _reports,
    "exports": _exports,
    "webhooks": _webhooks,
    "relay": _relay,
    "upkeep": _upkeep,
}
