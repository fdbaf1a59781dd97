"""Storage of a parsed report of any size in one transaction, so that queries never return a partial report."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple
from weakref import WeakValueDictionary

from service.cases import store as cases_store
from service.costs import store as costs_store
from service.database.database import Connection, Pool
from service.database.partitions import ensure_partitions
from service.database.transactions import notifying_transaction
from service.domain.errors import Rejected
from service.domain.ids import OrgId
from service.failures.minutes import NewMinutes, recording_minutes
from service.ingest.new_cases import CaseOrigin, IngestCache, IngestCaches, insert_unseen_cases
from service.ingest.parse_events import ParsedEvent
from service.ingest.parse_results import KEY_COLLISION, IndexedResults, Occurrences, UnseenCases, parse_valid_results
from service.ingest.run_changes import emit_run_events
from service.projects import store as projects_store
from service.reports import store
from service.reports.conversion.uploads import ReadUpload
from service.reports.parse_report import ParsedReport, read_upload_context
from service.reports.store import LeasedReport
from service.reports.store_uploads import StoredOutput, UploadOutput, store_uploads
from service.reports.untrusted_uploads import ResultQuota
from service.reports.write_run import RunWriter
from service.results.model import CaseOutcomes, MergeCounts, can_have_failed
from service.runs.model import is_untrusted_id
from service.runs.store import StoredRun
from service.tasks.leases import LeaseLost

_LOCK_WAIT_S: Final = 5.0  # as in other transactions

# The outcome of one attempt: the status of the receipt, or "lost" if another worker has the lease.
ReportStatus = Literal["stored", "partial", "rejected", "queued", "lost"]


class ReportOutcome(NamedTuple):
    """The outcome of one attempt, with the number of stored results."""

    status: ReportStatus
    results: int = 0


@dataclass(slots=True)
class _ReportBatch:
    """A batch of results, with the cases that might be new."""

    org_id: OrgId
    event: ParsedEvent
    outcomes: CaseOutcomes
    unseen: UnseenCases


class ReportStore:
    """Stores parsed reports, with the caches of ingest. Each process has one store."""

    def __init__(self, pool: Pool, retention: timedelta, link_base: str) -> None:
        self._pool = pool
        self._retention = retention
        self._link_base = link_base
        self._caches = IngestCaches()
        # Each report uses one connection and sometimes a second one. The limit prevents a deadlock on the pool.
        slots = max(1, pool.get_max_size() // 3)
        self._slots = asyncio.Semaphore(slots)
        self._slots_per_organization = max(1, slots - 1)
        self._slots_of_organizations: WeakValueDictionary[OrgId, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, org_id: OrgId) -> AsyncIterator[Connection]:
        """Acquire a connection for storing one report. Wait while too many reports are being stored.

        One organization can't use all slots, so that its reports don't delay the reports of another one.
        """
        own_slots = self._slots_of_organizations.setdefault(org_id, asyncio.Semaphore(self._slots_per_organization))
        async with own_slots, self._slots, self._pool.acquire() as connection:
            yield connection

    async def store(
        self, connection: Connection, leased: LeasedReport, read: ReadUpload, output: StoredOutput
    ) -> ReportOutcome:
        """Store the results and finish the receipt. Storing the same report again changes nothing.

        `output` are the stored files with the output of the results.

        Raises Rejected if the report can't be stored, LeaseLost, or a database error. In these cases, the transaction
        is rolled back.
        """
        await set_context(connection, leased, read.summary.run)
        report = ParsedReport(leased, read, self._retention, output)
        completed_ms = [report.event.state.completed_ms]
        quota = _quota_of(leased, report, read, output)
        if quota:
            await quota.check(connection)
        cache = await self._caches.find(connection, [leased.lease.org_id])
        with recording_minutes(cache.minutes) as minutes:
            partitioned = ensure_partitions(connection, cache.months, completed_ms)
            async with partitioned, notifying_transaction(connection):
                await cases_store.prevent_replacement(connection, cache.files, _LOCK_WAIT_S)
                run = await self._write(connection, cache, minutes, leased, report)
                change = await run.close(
                    connection, report.event.state, leased.lease.task_id, rejected_failing=report.event.rejected_failing
                )
                uploaded = UploadOutput(output, read.suite_output)
                await store_uploads(connection, run.run, leased, uploaded, read.suite_files, report.referring)
                outcome = ReportOutcome("partial" if report.event.rejected_count else "stored", run.result_count)
                await _finish(connection, leased, report, outcome, run.effects.counts)
                await emit_run_events(connection, [change] if change else [], self._link_base)
                if run.run.trusted:
                    await costs_store.mark_changed(connection, [run.run.ref_of_day])
                if quota:
                    await quota.add(connection)
                await _lock_project(connection, run.run, cache)
        return outcome

    async def _write(
        self,
        connection: Connection,
        cache: IngestCache,
        minutes: NewMinutes,
        leased: LeasedReport,
        report: ParsedReport,
    ) -> RunWriter:
        if not await store.lock_lease(connection, leased.lease):
            raise LeaseLost
        org_id = leased.lease.org_id
        event, upload = report.event, leased.upload
        receipt_id = leased.lease.task_id if upload.is_promoted else None
        run = await RunWriter.open(
            connection, org_id, event.state, event.part, minutes, upload.claimed_fields, receipt_id
        )
        report.event.number = run.number
        async for outcomes in self._outcomes(org_id, cache, report, _origin_of(leased, report)):
            await run.add(connection, outcomes)
        if report.event.rejected_count and not run.result_count:
            raise Rejected("no_valid_result", f"the report contains no valid result: {report.event.list_reasons()}")
        return run

    async def _outcomes(
        self, org_id: OrgId, cache: IngestCache, report: ParsedReport, origin: CaseOrigin
    ) -> AsyncIterator[CaseOutcomes]:
        """Yield the outcomes in batches, after the new cases of the batch are committed."""
        event = report.event
        known = cache.known_cases(org_id)
        unseen: UnseenCases = {}

        def parse(results: IndexedResults, occurrences: Occurrences) -> CaseOutcomes:
            outcomes, new_cases = parse_valid_results(event, results, known, cache.fingerprints, occurrences)
            for key, (index, case) in new_cases.items():
                if key in unseen and not case.is_same(unseen[key][1]):
                    event.reject(index, case.name, KEY_COLLISION, failing=can_have_failed(outcomes.pop(key)))
                else:
                    unseen[key] = index, case  # the texts of the last result are the newest
            return outcomes

        for outcomes in report.batches(parse):
            if unseen:
                async with self._pool.acquire() as second:
                    await insert_unseen_cases(second, cache, [_ReportBatch(org_id, event, outcomes, unseen)], origin)
                unseen.clear()
            yield outcomes


def _origin_of(leased: LeasedReport, report: ParsedReport) -> CaseOrigin:
    """Return how far the texts of the cases are trusted: the code of a fork has written a promoted report."""
    if not is_untrusted_id(report.event.state.run_id):
        return "trusted"
    return "promoted" if leased.upload.is_promoted else "untrusted"


def _quota_of(leased: LeasedReport, report: ParsedReport, read: ReadUpload, output: StoredOutput) -> ResultQuota | None:
    """Return what the report of an untrusted run stores, with the size of its converted results and of their output.

    A promoted report has counted before. Otherwise, strangers could prevent its promotion with other uploads.
    """
    if _origin_of(leased, report) != "untrusted":
        return None
    size = read.files[0].target.stat().st_size + sum(file.size for file in output.files)
    return ResultQuota(leased.lease.org_id, report.event.state.project_id, read.summary.rows, size)


async def _lock_project(connection: Connection, run: StoredRun, cache: IngestCache) -> None:
    """Prevent the deletion of the project of the run. Only a trusted run creates its project.

    Raises Rejected if the project no longer allows an untrusted run.
    """
    if run.trusted:
        await projects_store.lock_or_insert(connection, {run.project_ref}, cache.versions)
    elif not await projects_store.lock_untrusted(connection, run.project_ref, cache.versions):
        raise Rejected("invalid", "project_id: the project doesn't allow untrusted uploads")


async def set_context(connection: Connection, leased: LeasedReport, run: Mapping[str, Any]) -> None:
    """Set the pipeline and the part of the run in the receipt, if the report states them.

    `run` contains its unvalidated fields.
    """
    upload = leased.upload
    context = read_upload_context(upload, run)
    if context != (upload.pipeline, upload.run_part):
        await store.set_context(connection, leased.lease, *context)


async def _finish(
    connection: Connection, leased: LeasedReport, report: ParsedReport, outcome: ReportOutcome, counts: MergeCounts
) -> None:
    state = report.event.state
    run = state.run_id, state.project_id
    if not await store.finish(connection, leased.lease, *outcome, report.problems, run, counts):
        raise LeaseLost
