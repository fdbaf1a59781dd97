"""Ingestion of uploaded reports: lease a report, parse it in a child process, store it, and update its receipt."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import orjson

from service.database.database import Connection, Pool
from service.database.errors import RowLocked, is_conflict, is_data_error, is_outage
from service.database.transactions import notifying_transaction
from service.domain.codeowners import FileOwners
from service.domain.errors import NotFound, Reason, Rejected, Unavailable
from service.domain.ids import OrgId
from service.log import log
from service.reports import store as reports_store
from service.reports.conversion.errors import ReportError
from service.reports.conversion.names import Checkout
from service.reports.conversion.processes import ParserCrashed, ParserProcess
from service.reports.conversion.uploads import ReadUpload, ReportFile
from service.reports.model import (
    FOLDER_PREFIX,
    MAX_ATTEMPTS,
    RETRY_WAITS,
    UNTRUSTED_LIMITS,
    WORKER_ERROR_WAITS,
    ReportLimits,
    UnsupportedUpload,
    Upload,
    uncompressed_name,
)
from service.reports.store import BusySlots, LeasedReport
from service.reports.store_report import ReportOutcome, ReportStore, set_context
from service.reports.store_uploads import StoredOutput, write_output
from service.storage import Storage
from service.tasks.leases import LeaseLost, RenewableLease, log_temporary
from service.tasks.model import Lease
from service.tasks.store import REPORT_TASKS
from service.tasks.workers import WorkerChecks
from service.tracing import spans

_LEASE: Final = timedelta(seconds=30)
_RENEW_EVERY_S: Final = 5.0
_CONFLICT_WAIT: Final = timedelta(seconds=1)
_OUTAGE_WAIT: Final = timedelta(seconds=15)
_DELETION_WAIT: Final = timedelta(seconds=15)  # of the project, which can take minutes: each attempt reads the report
_MAX_REASON: Final = 2_000


class TemporaryFolderError(Exception):
    """The temporary folder can't contain the report, for example because the disk is full."""


_WORKER_ERRORS: Final = (TemporaryFolderError, UnsupportedUpload)


class ReportIngester:
    """Ingests leased reports. `pool` must have the database role results_worker. Parser processes start on demand.

    The reports of one organization use at most `slots_per_organization` of the `slots`, so that large reports of one
    organization don't delay the reports of another one until they are stored. Reports of untrusted runs never use the
    last slot of an organization that has several, or of the process, because anybody can send slow ones.
    """

    def __init__(
        self, pool: Pool, storage: Storage, store: ReportStore, limits: ReportLimits, slots_per_organization: int,
        parsers: list[ParserProcess] | None = None,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._storage = storage
        self._store = store
        self._limits = limits
        self._idle_parsers = [] if parsers is None else parsers
        self._slots_per_organization = slots_per_organization
        self._checks = WorkerChecks(pool)
        self._leased: Counter[OrgId] = Counter()  # reports of each organization in this process

    @property
    def slots(self) -> int:
        """The number of reports to ingest concurrently."""
        return self._slots_per_organization + 1

    async def lease(self) -> LeasedReport | None:
        """Lease the next queued report of an organization with a free slot. Return None if no report is due."""
        async with self._pool.acquire() as connection:
            leased = await reports_store.lease(connection, uuid4(), _LEASE, self._busy_slots())
        if leased is not None:
            self._leased[leased.lease.org_id] += 1
        return leased

    def _busy_slots(self) -> BusySlots:
        slots, leased = self._slots_per_organization, self._leased
        untrusted_slots = max(1, slots - 1)
        return BusySlots(
            [org_id for org_id, count in leased.items() if count >= slots],
            [org_id for org_id, count in leased.items() if count >= untrusted_slots],
            accepts_untrusted=leased.total() < self.slots - 1,
        )

    async def ingest(self, leased: LeasedReport) -> ReportOutcome:
        """Ingest a leased report, and free its slot.

        After a failure, schedule a retry or reject the report. If canceled, release the lease.
        """
        try:
            return await self._ingest_or_retry(leased)
        finally:
            self._leased -= Counter([leased.lease.org_id])  # deletes zeros

    async def _ingest_or_retry(self, leased: LeasedReport) -> ReportOutcome:
        logged = log.bind(
            receipt_id=leased.lease.task_id, org_id=leased.lease.org_id, attempt_count=leased.attempt_count
        )
        try:
            outcome = await self._checks.while_available(leased.lease.org_id, partial(self._ingest, leased))
        except asyncio.CancelledError:
            await self._renewable(leased.lease).release()
            raise
        except LeaseLost:
            logged.info("report_claim_lost")  # a public name: other code calls this a lease
            return ReportOutcome("lost")
        except Exception as error:
            logged.warning("report_failed", exc_info=None if _is_explained(error) else error, error=repr(error))
            spans.fail(error)
            return await self._record_failure(leased, error)
        logged.info("report_stored", results=outcome.results)
        return outcome

    async def reject_abandoned(self) -> None:
        """Reject the reports whose worker crashed in their last attempt."""
        async with self._pool.acquire() as connection:
            abandoned = await reports_store.find_abandoned(connection)
        for lease, document in abandoned:
            await self._reject(
                lease, document, "internal_error", f"{MAX_ATTEMPTS} workers crashed while they processed this report"
            )

    async def close(self) -> None:
        """Stop the parser processes."""
        for parser in self._idle_parsers:
            parser.stop()

    async def _ingest(self, leased: LeasedReport) -> ReportOutcome:
        """Parse and store a report.

        The lease is renewed until a storage slot is free. The rest of the lease lasts until `store` locks the row.
        """
        with _temporary_folder() as folder:
            async with AsyncExitStack() as slot:
                async with self._renewable(leased.lease).renewing():
                    read = await self._read(leased, Path(folder))
                    with _disk_errors():
                        output = await write_output(self._storage, leased.lease, read.output, read.embedded)
                    connection = await slot.enter_async_context(self._store.slot(leased.lease.org_id))
                return await self._store_results(connection, leased, read, output)

    async def _store_results(
        self, connection: Connection, leased: LeasedReport, read: ReadUpload, output: StoredOutput
    ) -> ReportOutcome:
        """Store the results. Delete the files with their output if the transaction was certainly rolled back."""
        try:
            return await self._store.store(connection, leased, read, output)
        except Exception as error:
            if not is_outage(error):
                await self._delete(file.path for file in output.files)
            raise

    def _renewable(self, lease: Lease) -> RenewableLease:
        return RenewableLease(self._pool, REPORT_TASKS, lease, _LEASE, _RENEW_EVERY_S)

    async def _read(self, leased: LeasedReport, folder: Path) -> ReadUpload:
        """Parse the reports, and once again if the parser crashes, because other processes can use up the memory."""
        try:
            return await self._parse(leased, folder)
        except ParserCrashed:
            log.warning("parser_crashed", path=leased.upload.reports[0].path)
            return await self._parse(leased, folder)

    async def _parse(self, leased: LeasedReport, folder: Path) -> ReadUpload:
        """Download the reports, which the parser deletes, and parse them. Raises ReportError if that takes too long."""
        upload, limits, kind = leased.upload, self._limits, "uploads"
        if leased.is_untrusted:
            limits, kind = ReportLimits._make(map(min, limits, UNTRUSTED_LIMITS)), "untrusted uploads"
        if upload.is_promoted:  # a rejection would be final
            limits = limits._replace(parsing_s=self._limits.parsing_s)
        owners = await self._read_owners(leased)
        files = [_report_file(upload, index, folder, owners) for index in range(len(upload.reports))]
        with _disk_errors():
            for report, file in zip(upload.reports, files, strict=True):
                await self._download(report.path, file.source)
        parser = self._idle_parsers.pop() if self._idle_parsers else ParserProcess()
        try:
            async with asyncio.timeout(limits.parsing_s):
                with _disk_errors():
                    return await parser.read(files, limits)
        except TimeoutError:
            raise ReportError(
                "too_large",
                f"the upload couldn't be parsed within {limits.parsing_s:g} s, the limit of {kind}."
                " Split it into several uploads",
            ) from None
        finally:
            self._idle_parsers.append(parser)

    async def _read_owners(self, leased: LeasedReport) -> FileOwners | None:
        """Return the owners of files. The code of a fork doesn't decide them."""
        if leased.upload.owners is None or leased.is_untrusted:
            return None
        chunks = [chunk async for chunk in await self._storage.read(leased.upload.owners.path)]
        return FileOwners(orjson.loads(b"".join(chunks)))

    async def _download(self, path: str, target: Path) -> None:
        with target.open("wb") as file:
            async for chunk in await self._storage.read(path):
                await asyncio.to_thread(file.write, chunk)

    async def _record_failure(self, leased: LeasedReport, error: Exception) -> ReportOutcome:
        """Reject the report or schedule a retry. If the database is unreachable, do neither: the lease will expire."""
        rejection, delay = _rejection(error), _uncounted_delay(error)
        reason = str(error) if isinstance(error, _WORKER_ERRORS) else "an internal error occurred"
        if rejection is None and delay is None and leased.attempt_count >= MAX_ATTEMPTS:
            rejection = "internal_error", f"{reason} in each attempt"
        try:
            if isinstance(error, ReportError):
                async with self._pool.acquire() as connection:
                    await set_context(connection, leased, error.run)
            if rejection:
                await self._reject(leased.lease, leased.document, *rejection)
                return ReportOutcome("rejected")
            if delay is None:
                waits = WORKER_ERROR_WAITS if isinstance(error, _WORKER_ERRORS) else RETRY_WAITS
                problem = _problem("internal_error", f"{reason}; the report is queued for another attempt")
                async with self._pool.acquire() as connection:
                    await REPORT_TASKS.retry(connection, leased.lease, waits[leased.attempt_count - 1], [problem])
            else:
                await self._renewable(leased.lease).release(delay)
        except Exception as outage:
            if not is_outage(outage):
                raise
            log_temporary(outage, work="reports")
        return ReportOutcome("queued")

    async def _reject(self, lease: Lease, document: dict[str, Any], reason: Reason, message: str) -> None:
        async with self._pool.acquire() as connection, notifying_transaction(connection):
            rejected = await reports_store.finish(connection, lease, "rejected", 0, [_problem(reason, message)])
        if rejected:
            try:
                await self._delete(Upload.of_document(document).paths)
            except UnsupportedUpload as error:
                log.warning("upload_deletion_failed", error=repr(error))

    async def _delete(self, paths: Iterable[str]) -> None:
        """Delete the files of a failed attempt. If that fails, the periodic cleanup deletes them later."""
        try:
            for path in paths:
                await self._storage.delete(path)
        except Unavailable as error:
            log.warning("upload_deletion_failed", error=repr(error))


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Provide a temporary folder for one report. Raises TemporaryFolderError if it can't be created."""
    with ExitStack() as opened:
        with _disk_errors():
            folder = opened.enter_context(TemporaryDirectory(prefix=FOLDER_PREFIX))
        yield folder


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Convert errors of the local disk, which must not be mistaken for an outage of the database or the storage."""
    try:
        yield
    except OSError as error:
        raise TemporaryFolderError(f"the temporary folder of the server failed: {error.strerror or error}") from error


def _report_file(upload: Upload, index: int, folder: Path, owners: FileOwners | None) -> ReportFile:
    report, has_several = upload.reports[index], len(upload.reports) > 1
    source, target = folder / f"report-{index}", folder / f"results-{index}"
    name = uncompressed_name(report.name) if has_several else None
    checkout = Checkout.of(upload.run.get("root"), report.path_prefix)._replace(owners=owners)
    return ReportFile(source, target, name, report.content_type, upload.encoding, checkout)


def _problem(reason: Reason, message: str) -> dict[str, Any]:
    return {"index": None, "name": None, "reason": f"{reason}: {message}"[:_MAX_REASON]}


def _uncounted_delay(error: Exception) -> timedelta | None:
    """Return the delay of a retry after an error that the report didn't cause, otherwise None."""
    if isinstance(error, RowLocked):
        return _DELETION_WAIT
    if is_conflict(error):
        return _CONFLICT_WAIT
    return _OUTAGE_WAIT if isinstance(error, Unavailable) or is_outage(error) else None


def _is_explained(error: Exception) -> bool:
    """Return whether the error states its cause without a traceback."""
    return bool(_rejection(error) or _uncounted_delay(error)) or isinstance(error, _WORKER_ERRORS)


def _rejection(error: Exception) -> tuple[Reason, str] | None:
    """Return the reason of a permanent failure, or None if a retry can succeed."""
    if isinstance(error, ReportError | Rejected):
        return error.reason, str(error)
    if isinstance(error, NotFound):
        return "invalid", "the file was not found in storage"
    if is_data_error(error):
        return "refused_by_store", f"{type(error).__name__}: {error}"
    return None
