"""Uploaded reports as rows of `receipts`. A worker must own the lease of a report to write to its receipt."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from service.database.database import Connection
from service.database.statements import statements
from service.database.transactions import notify_after_commit
from service.domain.ids import OrgId
from service.events.store import EVENTS_WRITTEN
from service.identity.publishers.model import JobClaims
from service.receipts.store import part_columns
from service.reports.model import MAX_ATTEMPTS, Upload
from service.results.model import MergeCounts
from service.runs.model import RunPart, is_untrusted_id
from service.tasks.model import Lease
from service.tracing import spans
from service.tracing.spans import TraceContext

_SQL: Final = statements("reports")
_NO_EFFECTS: Final = MergeCounts()


class NewReport(NamedTuple):
    """An uploaded report, and the CI job that sent it with a key of a publisher.

    The same report of the same run has the same `source` and `event_id`.
    """

    org_id: OrgId
    receipt_id: str
    source: str
    event_id: str
    body_sha256: bytes
    run_id: str | None
    project_id: str | None
    upload: Upload
    job: JobClaims | None = None


class ReportOfRun(NamedTuple):
    """A report of a run: its receipt, the status of it, and what was uploaded."""

    receipt_id: str
    status: str
    upload: Upload
    received_at: datetime


class UploadedFile(NamedTuple):
    """A file of an upload. `folder` is the receipt ID that was generated for the upload."""

    org_id: OrgId
    folder: str
    path: str


class LeasedReport(NamedTuple):
    """A leased report. `received_at` is the same in every attempt. If `run_id` is None, the report contains it."""

    lease: Lease
    source: str
    event_id: str
    body_sha256: bytes
    run_id: str | None
    document: dict[str, Any]  # of the upload
    attempt_count: int
    received_at: datetime
    trace_context: TraceContext | None = None  # of the request or event that queued it

    @property
    def is_untrusted(self) -> bool:
        """Whether a stranger can have sent the report."""
        return is_untrusted_id(self.run_id or "")

    @property
    def upload(self) -> Upload:
        """The upload. Raises UnsupportedUpload if another version of the service stored the document."""
        return Upload.of_document(self.document)


async def queue(connection: Connection, report: NewReport) -> str | None:
    """Queue the report. Return the ID of its receipt, or None if the report was accepted before."""
    upload = report.upload
    columns = upload.pipeline, *part_columns(upload.run_part)
    origin = (None, None) if report.job is None else (report.job.publisher_id, report.job.job)
    values = *report[:-2], upload.to_document(), *columns, spans.current_context(), *origin
    receipt_id: str | None = await connection.fetchval(_SQL["queue"], *values)
    return receipt_id


async def find_receipt(connection: Connection, report: NewReport) -> str:
    """Return the receipt ID of a report that was accepted before."""
    receipt_id: str = await connection.fetchval(_SQL["find_receipt"], report.org_id, report.source, report.event_id)
    return receipt_id


async def lock_of_run(
    connection: Connection, org_id: OrgId, run_id: str, receipt_ids: Sequence[str]
) -> list[ReportOfRun]:
    """Return and lock those of the uploaded reports that belong to the run. Call this before the run is locked.

    A worker that stores a report locks its receipt before its run, too.
    """
    rows = await connection.fetch(_SQL["lock_of_run"], org_id, run_id, receipt_ids)
    return [
        ReportOfRun(row["receipt_id"], row["status"], Upload.of_document(row["upload"]), row["received_at"])
        for row in rows
    ]


async def queue_again(connection: Connection, org_id: OrgId, receipt_id: str, upload: Upload) -> None:
    """Queue a locked report again, with other fields. A worker that processes it loses its lease."""
    await connection.execute(_SQL["queue_again"], org_id, receipt_id, upload.to_document(), spans.current_context())
    notify_after_commit(EVENTS_WRITTEN, [org_id])


class BusySlots(NamedTuple):
    """The organizations without a free slot, and those without one for reports of untrusted runs.

    If not `accepts_untrusted`, no organization has a slot for these.
    """

    organizations: Sequence[OrgId] = ()
    without_untrusted: Sequence[OrgId] = ()
    accepts_untrusted: bool = True


async def lease(connection: Connection, token: UUID, duration: timedelta, busy: BusySlots) -> LeasedReport | None:
    """Lease the next due report that has a free slot. Return None if there is none."""
    async with connection.transaction():
        await connection.execute(_SQL["lock_leases"])
        row = await connection.fetchrow(_SQL["lease"], token, duration, MAX_ATTEMPTS, *busy)
    if row is None:
        return None
    return LeasedReport(
        Lease(OrgId(row["org_id"]), row["receipt_id"], token), row["source"], row["event_id"], row["body_sha256"],
        row["run_id"], row["upload"], row["attempt_count"], row["received_at"],
        row["trace_context"],
    )  # fmt: skip


async def lock_lease(connection: Connection, lease: Lease) -> bool:
    """Lock the report until the transaction ends. Return False if the lease is lost."""
    return await connection.fetchval(_SQL["lock_lease"], *lease) is not None


async def set_context(connection: Connection, lease: Lease, pipeline: str | None, part: RunPart) -> None:
    """Set the pipeline and the part of the run that a report states itself."""
    await connection.execute(_SQL["set_context"], *lease, pipeline, *part_columns(part))


async def finish(
    connection: Connection, lease: Lease, status: str, results: int, problems: Sequence[dict[str, Any]],
    run: tuple[str, str] | None = None, counts: MergeCounts = _NO_EFFECTS,
) -> bool:  # fmt: skip
    """Finish the receipt, set its run (run_id, project_id), and wake the requests that wait for the receipt.

    Return False if the lease is lost. Requires a notifying transaction.
    """
    values = status, results, problems, *(run or (None, None)), *counts
    notify_after_commit(EVENTS_WRITTEN, [lease.org_id])
    return await connection.fetchval(_SQL["finish"], *lease, *values) is not None


async def find_orphaned(connection: Connection, files: Sequence[UploadedFile]) -> list[str]:
    """Return the paths of the files that belong to no queued report and to no run, of all organizations."""
    unowned = await connection.fetch(_SQL["find_unowned"], *map(list, zip(*files, strict=True)))
    used: set[str] = set()
    for org_id in {row["org_id"] for row in unowned}:
        of_runs = [row[1:] for row in unowned if row["org_id"] == org_id]
        rows = await connection.fetch(_SQL["find_of_runs"], org_id, *map(list, zip(*of_runs, strict=True)))
        used |= {row["path"] for row in rows}
    return [row["path"] for row in unowned if row["path"] not in used]


async def find_abandoned(connection: Connection) -> list[tuple[Lease, dict[str, Any]]]:
    """Return and lock the reports, with the documents of their uploads, whose worker crashed in their last attempt."""
    rows = await connection.fetch(_SQL["find_abandoned"], MAX_ATTEMPTS)
    return [(Lease(OrgId(row["org_id"]), row["receipt_id"], row["claim"]), row["upload"]) for row in rows]
