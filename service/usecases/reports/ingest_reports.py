"""Takes uploaded reports in: claims one, has a child read it, stores it, and says in its receipt what became of it."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

from service.domain.errors import NotFound, Reason, Rejected, Unavailable
from service.domain.jobs import Claim
from service.domain.reports import MAX_TRIES, RETRY_WAITS, Upload
from service.log import log
from service.reports.errors import ReportError
from service.reports.parser_processes import ParserProcess
from service.reports.uploads import ReadUpload
from service.storage import Storage
from service.store import reports
from service.store.job_leases import REPORT_JOBS
from service.store.postgres.database import Pool, is_conflict, is_data_error, is_outage
from service.store.reports import ClaimedReport
from service.usecases.job_leases import ClaimLost, JobLease
from service.usecases.reports.orphaned_uploads import FOLDER_PREFIX
from service.usecases.reports.store_report import ReportOutcome, ReportStore

_LEASE: Final = timedelta(seconds=30)
_RENEW_EVERY_S: Final = 5.0
_CLASH_WAIT: Final = timedelta(seconds=1)
_OUTAGE_WAIT: Final = timedelta(seconds=15)
_MAX_REASON: Final = 2_000


class ReportIngester:
    """The use case with what it needs. `pool` is one of results_worker; children are made when there are too few."""

    def __init__(
        self, pool: Pool, storage: Storage, store: ReportStore, max_unpacked_bytes: int,
        children: list[ParserProcess] | None = None,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._storage = storage
        self._store = store
        self._max_unpacked_bytes = max_unpacked_bytes
        self._idle = [] if children is None else children

    async def claim(self) -> ClaimedReport | None:
        """The next report, if any."""
        async with self._pool.acquire() as connection:
            return await reports.claim(connection, uuid4(), _LEASE)

    async def ingest(self, claimed: ClaimedReport) -> ReportOutcome:
        """Takes one in to its end or, where that fails, puts it back or rejects it. Canceled, it gives it back."""
        logged = log.bind(
            receipt_id=claimed.claim.job_id, org_id=claimed.claim.org_id, attempt_count=claimed.attempt_count
        )
        try:
            taken = await self._ingest(claimed)
        except asyncio.CancelledError:
            await self._lease(claimed.claim).release()
            raise
        except ClaimLost:
            logged.info("report_claim_lost")
            return ReportOutcome("lost")
        except Exception as error:
            logged.warning("report_failed", exc_info=None if _verdict(error) else error, error=repr(error))
            return await self._note_failure(claimed, error)
        logged.info("report_stored", results=taken.results)
        return taken

    async def reject_abandoned(self) -> None:
        """Rejects the reports whose last try ended with its worker."""
        async with self._pool.acquire() as connection:
            abandoned = await reports.find_abandoned(connection)
        for held, upload in abandoned:
            await self._reject(held, upload, "internal_error", f"{MAX_TRIES} workers died over this report")

    async def close(self) -> None:
        """Ends the children."""
        for child in self._idle:
            child.stop()

    async def _ingest(self, claimed: ClaimedReport) -> ReportOutcome:
        """The lease is prolonged until there is a place; what is left lasts until `store` holds the row itself."""
        with TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
            results = Path(folder) / "results"
            async with AsyncExitStack() as place:
                async with self._lease(claimed.claim).renewing():
                    read = await self._read(claimed.upload, Path(folder) / "report", results)
                    connection = await place.enter_async_context(self._store.place())
                return await self._store.store(connection, claimed, read, results)

    def _lease(self, claim: Claim) -> JobLease:
        return JobLease(self._pool, REPORT_JOBS, claim, _LEASE, _RENEW_EVERY_S)

    async def _read(self, upload: Upload, source: Path, results: Path) -> ReadUpload:
        await self._fetch(upload.report.path, source)
        child = self._idle.pop() if self._idle else ParserProcess()
        try:
            return await child.read(
                source, results, upload.report.content_type, upload.encoding, self._max_unpacked_bytes
            )
        finally:
            self._idle.append(child)

    async def _fetch(self, path: str, target: Path) -> None:
        with target.open("wb") as file:
            async for chunk in await self._storage.read(path):
                await asyncio.to_thread(file.write, chunk)

    async def _note_failure(self, claimed: ClaimedReport, error: Exception) -> ReportOutcome:
        """The verdict, or another try. Where not even that can be written, the lease runs out by itself."""
        verdict, pause = _verdict(error), _pause(error)
        if verdict is None and pause is None and claimed.attempt_count >= MAX_TRIES:
            verdict = "internal_error", "something went wrong on our side"
        try:
            if verdict:
                await self._reject(claimed.claim, claimed.upload, *verdict)
                return ReportOutcome("rejected")
            if pause is None:
                async with self._pool.acquire() as connection:
                    await REPORT_JOBS.retry(connection, claimed.claim, RETRY_WAITS[claimed.attempt_count - 1])
            else:
                await self._lease(claimed.claim).release(pause)
        except Exception as outage:
            if not is_outage(outage):
                raise
            log.warning("store_unreachable", work="reports", error=repr(outage))
        return ReportOutcome("queued")

    async def _reject(self, held: Claim, upload: Upload, reason: Reason, message: str) -> None:
        problem = {"index": None, "name": None, "reason": f"{reason}: {message}"[:_MAX_REASON]}
        async with self._pool.acquire() as connection:
            rejected = await reports.finish(connection, held, "rejected", 0, [problem])
        if rejected:
            await self._delete(upload)

    async def _delete(self, upload: Upload) -> None:
        """What storage does not let go of now, the sweep of uploads finds later."""
        try:
            for path in upload.paths:
                await self._storage.delete(path)
        except Unavailable as error:
            log.warning("upload_left", path=upload.report.path, error=repr(error))


def _pause(error: Exception) -> timedelta | None:
    """How long to wait where the report has no part in the failure; None where it may have."""
    if is_conflict(error):
        return _CLASH_WAIT
    return _OUTAGE_WAIT if isinstance(error, Unavailable) or is_outage(error) else None


def _verdict(error: Exception) -> tuple[Reason, str] | None:
    """Why the report can never be taken in, or None where another try may do."""
    if isinstance(error, ReportError | Rejected):
        return error.reason, str(error)
    if isinstance(error, NotFound):
        return "invalid", "the file is not in storage"
    if is_data_error(error):
        return "refused_by_store", f"{type(error).__name__}: {error}"
    return None
