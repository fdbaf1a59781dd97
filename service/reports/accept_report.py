"""Acceptance of an uploaded report: store its files, then create the receipt and the message in one transaction."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from service.database.database import Connection, Pool, as_organization
from service.database.transactions import notifying_transaction
from service.domain.errors import Forbidden, InvalidRequest, TooLarge
from service.domain.ids import OrgId, new_id
from service.events import outbox
from service.identity.keys.model import Caller
from service.identity.publishers.job_claims import apply_claims, check_run_id_of_job, claims_of_upload
from service.identity.publishers.model import JobClaims
from service.ingest.parse_events import AcceptanceWindow
from service.reports import store
from service.reports.contract import ReportQuery
from service.reports.model import StoredPart, Upload
from service.reports.store import NewReport
from service.reports.untrusted_uploads import UploadQuota, check_run, check_run_id, refused
from service.retention import store as retention_store
from service.runs.model import is_untrusted_id
from service.runs.operations import check_run_of_job
from service.storage import Storage, stored_path
from service.tasks.model import REPORTS


class UploadPart(NamedTuple):
    """A file that is being uploaded. StoredPart explains `path_prefix`."""

    name: str
    content_type: str | None
    chunks: AsyncIterator[bytes]
    path_prefix: str = ""


async def store_part(storage: Storage, path: str, part: UploadPart, max_bytes: int) -> StoredPart:
    """Stream a file into storage. Raises TooLarge and stores nothing if the file exceeds `max_bytes`."""
    async with storage.open_writer(path, part.content_type, part.name) as file:
        async for chunk in part.chunks:
            if file.size + len(chunk) > max_bytes:
                raise TooLarge(f"{part.name}: must have at most {max_bytes} bytes")
            await file.write(chunk)
    return StoredPart(path, part.name, part.content_type, file.size, file.sha256.hex(), part.path_prefix)


class UploadWriter:
    """The files of one upload in storage. `max_bytes` limits all files of the upload together."""

    def __init__(self, storage: Storage, org_id: OrgId, max_bytes: int) -> None:
        self.receipt_id = new_id("rcp")
        self._storage = storage
        self._org_id = org_id
        self._max_bytes = max_bytes
        self._size = 0
        self._paths: list[str] = []

    async def store(self, part: UploadPart) -> StoredPart:
        """Stream a file into storage. Raises TooLarge if the upload exceeds its limit."""
        path = stored_path("inbox", self._org_id, self.receipt_id, str(len(self._paths)))
        try:
            stored = await store_part(self._storage, path, part, self._max_bytes - self._size)
        except TooLarge:
            raise TooLarge(f"upload: must have at most {self._max_bytes} bytes") from None
        self._size += stored.size
        self._paths.append(path)
        return stored

    async def store_document(self, name: str, document: Mapping[str, Any]) -> StoredPart:
        """Store a JSON document. Equal documents have the same content. Raises TooLarge as `store`."""

        async def chunks() -> AsyncIterator[bytes]:
            yield orjson.dumps(document)

        return await self.store(UploadPart(name, "application/json", chunks()))

    async def delete(self) -> None:
        """Delete the stored files of an upload that isn't queued."""
        for path in self._paths:
            await self._storage.delete(path)


class AcceptedReport(NamedTuple):
    """The receipt of a report. It isn't new if the same report was accepted before."""

    receipt_id: str
    is_new: bool


async def check_upload(
    pool: Pool, caller: Caller, run_id: str, query: ReportQuery, retention: timedelta, quota: UploadQuota, size: int
) -> dict[str, Any]:
    """Check the run of an upload before its files, which have about `size` bytes, are received, and return its fields.

    Raises Forbidden if the key is bound to another project, if the role of the key can't upload to the run, and if the
    token of the CI job states other values or another run. Raises RateLimitExceeded for an untrusted upload, and
    InvalidRequest if a worker would reject the report because of its completion time. Workers use the clock of the
    database, too.
    """
    if caller.is_public:
        await _check_untrusted(pool, caller, run_id, query, quota, size)
    check_run_id(caller, run_id)
    if caller.project_id not in (None, query.project_id):
        raise Forbidden(f"project_id: must be {caller.project_id!r}, because the key is bound to this project")
    await _check_completed_at(pool, caller, query, retention)
    fields = query.run_fields()
    if caller.job is None:
        return fields
    check_run_id_of_job(caller.job, run_id)
    claimed = apply_claims(caller.job, fields)
    async with as_organization(pool, caller.org_id) as connection:
        await check_run_of_job(connection, caller, run_id)
    return claimed


async def _check_completed_at(pool: Pool, caller: Caller, query: ReportQuery, retention: timedelta) -> None:
    if query.completed_at is None:
        return
    async with as_organization(pool, caller.org_id) as connection:
        window = AcceptanceWindow(await retention_store.read_clock(connection), retention)
    if window.excludes(query.completed_at):
        raise InvalidRequest(
            "completed_at: must be within the retention and at most 24 h in the future", "completed_at"
        )


async def _check_untrusted(
    pool: Pool, caller: Caller, run_id: str, query: ReportQuery, quota: UploadQuota, size: int
) -> None:
    if query.project_id != caller.project_id:
        raise refused()
    async with as_organization(pool, caller.org_id) as connection:
        await check_run(connection, caller, run_id)
        await quota.check(connection, 1, size)


def identify(run_id: str, upload: Upload, assignments: Iterable[bytes] = ()) -> bytes:
    """Return a digest of all data of the request. Requests with the same digest contain the same report.

    The same files can have another meaning. For example, a stranger sends the failing report of a fork as an attachment
    of its passing one. Otherwise, the upload of the fork would get the receipt of the stranger.
    """
    files = [[part.name, part.sha256] for part in upload.parts]
    content: list[Any] = [run_id, upload.run, upload.encoding, files]
    if any(part.path_prefix for part in upload.reports):  # a corrected prefix is another upload
        content.append([part.path_prefix for part in upload.reports])
    if upload.attachments or is_untrusted_id(run_id):
        content.append([len(upload.reports), [part.content_type for part in upload.parts]])
    content += [sha256(assignment).hexdigest() for assignment in assignments]
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


async def accept_report(
    connection: Connection, org_id: OrgId, receipt_id: str, run_id: str, upload: Upload, job: JobClaims | None = None,
    assignments: Iterable[bytes] = (),
) -> AcceptedReport:  # fmt: skip
    """Queue the report, which a CI job can have sent.

    If the same report was accepted before and not rejected, return its receipt instead. In an untrusted run, the
    assignments of the upload must also be the same, because a stranger can have sent the other ones.
    """
    digest = identify(run_id, upload, assignments if is_untrusted_id(run_id) else ())
    source, project_id = f"/v1/runs/{run_id}/report", str(upload.run["project_id"])
    if job is not None:
        upload = replace(upload, claimed_fields=tuple(claims_of_upload(job)))
    report = NewReport(org_id, receipt_id, source, digest.hex(), digest, run_id, project_id, upload, job)
    async with notifying_transaction(connection):
        accepted = await store.queue(connection, report)
        if accepted is None:
            return AcceptedReport(await store.find_receipt(connection, report), is_new=False)
        await outbox.put(connection, REPORTS, {"org_id": org_id, "receipt_id": accepted})
    return AcceptedReport(accepted, is_new=True)
