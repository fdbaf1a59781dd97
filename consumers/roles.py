"""What a consumer process can be: each role by name, with the queues and loops that it adds to the process."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from consumers.broker import OnBroker
from consumers.jobs import Jobs
from consumers.loops import Loop
from consumers.metrics import count_export, count_report, counted
from consumers.numbering import numbering
from consumers.relay import Relay
from consumers.runs import runs_handler
from consumers.topology import Topology
from consumers.upkeep import Chore, chore_loops
from consumers.webhooks import Dispatcher
from consumers.worker import Handler
from service.domain.queues import EXPORTS, REPORTS
from service.outbound.webhooks import open_webhook_client
from service.resources import database_pool, database_url, open_storage
from service.settings import Settings
from service.store.postgres.database import Pool
from service.usecases.exports.run_export import Exporter
from service.usecases.exports.write_export import READERS, ExportWriter
from service.usecases.ingest.ingest_runs import RunIngest
from service.usecases.reports.store_report import ReportStore
from service.usecases.reports.sweep_uploads import delete_left_folders, delete_left_uploads
from service.usecases.reports.take_reports import ReportTaker
from service.usecases.retention import cleanup as tidy
from service.usecases.retention.expire_results import expire_results

Role: TypeAlias = str  # a key of ROLES


@dataclass(frozen=True, slots=True)
class Tools:
    """What a process has for its roles."""

    settings: Settings
    pool: Pool  # as results_worker
    topology: Topology
    stopping: asyncio.Event
    opened: AsyncExitStack  # closes what a role opens for itself, at the end


@dataclass(frozen=True, slots=True)
class Work:
    """What a role adds to its process. A queue gets so many lanes on the broker; without one, the outbox serves it."""

    queues: Mapping[str, Handler] = field(default_factory=dict)
    lanes: int = 1
    on_broker: Sequence[OnBroker] = ()
    loops: Sequence[Loop] = ()


async def _runs(tools: Tools) -> Work:
    settings = tools.settings
    ingest = RunIngest(tools.pool, settings.retention, settings.link_base, settings.storage_url)
    return Work({"results.runs": runs_handler(ingest)}, lanes=settings.consumer_lanes)


async def _reports(tools: Tools) -> Work:
    taker = _report_taker(tools)
    tools.opened.push_async_callback(taker.close)
    jobs = Jobs("reports", taker.claim, counted(taker.take, count_report), tools.settings.report_slots, tools.stopping)
    chores = [Chore("left_folders", 3_600, partial(asyncio.to_thread, delete_left_folders))]
    return Work({REPORTS: jobs.handle}, loops=[jobs.run, *chore_loops(chores, tools.stopping)])


async def _relay(tools: Tools) -> Work:
    return Work(
        on_broker=[Relay(tools.pool, tools.topology, tools.stopping)], loops=[numbering(tools.pool, tools.stopping)]
    )


async def _webhooks(tools: Tools) -> Work:
    opening = open_webhook_client(allow_loopback=tools.settings.webhook_allow_loopback)
    client = await tools.opened.enter_async_context(opening)
    return Work(loops=[Dispatcher(tools.pool, client, tools.stopping, tools.settings.webhook_concurrency).run])


async def _exports(tools: Tools) -> Work:
    settings = tools.settings
    exporter = await _exporter(tools)
    claim = partial(exporter.claim, settings.exports_per_organization)
    jobs = Jobs("exports", claim, counted(exporter.run, count_export), settings.export_slots, tools.stopping)
    return Work({EXPORTS: jobs.handle}, loops=[jobs.run])


async def _upkeep(tools: Tools) -> Work:
    exporter = await _exporter(tools)
    settings, storage = tools.settings, open_storage(tools.settings)
    expire = partial(expire_results, tools.pool, storage, database_url(settings), settings.retention)
    chores = (
        Chore("abandoned_exports", 10, exporter.end_abandoned),
        Chore("abandoned_reports", 10, _report_taker(tools).end_abandoned),
        Chore("expired_exports", 60, exporter.expire),
        Chore("left_files", 3_600, exporter.sweep),
        Chore("left_uploads", 24 * 3_600, partial(delete_left_uploads, tools.pool, storage)),
        Chore("stuck_writers", 15, partial(tidy.end_stuck_writers, tools.pool)),
        Chore("old_answers", 3_600, partial(tidy.delete_old_answers, tools.pool)),
        Chore("expired_results", 3_600, expire),
        Chore("old_events", 3_600, partial(tidy.delete_old_events, tools.pool)),
        Chore("old_receipts", 3_600, partial(tidy.delete_old_receipts, tools.pool)),
    )
    return Work(loops=chore_loops(chores, tools.stopping))


async def _exporter(tools: Tools) -> Exporter:
    settings = tools.settings
    # No fewer than all jobs hold at once: two that wait for the other's second connection would wait for ever.
    connections = settings.export_slots * READERS
    rows = await tools.opened.enter_async_context(database_pool(settings, "results_api", connections))
    writer = ExportWriter(rows, database_url(settings))
    return Exporter(tools.pool, writer, open_storage(settings), settings.link_base)


def _report_taker(tools: Tools) -> ReportTaker:
    settings = tools.settings
    store = ReportStore(tools.pool, settings.retention, settings.link_base)
    return ReportTaker(tools.pool, open_storage(settings), store, settings.report_max_unpacked_bytes)


ROLES: Final[Mapping[Role, Callable[[Tools], Awaitable[Work]]]] = {
    "runs": _runs,
    "reports": _reports,
    "exports": _exports,
    "webhooks": _webhooks,
    "relay": _relay,
    "upkeep": _upkeep,
}
