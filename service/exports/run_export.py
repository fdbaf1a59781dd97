"""Execution of exports: lease an export, write its file, and record the outcome."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final, Literal
from uuid import UUID, uuid4

import orjson

from service.database.database import Connection, Pool
from service.database.transactions import is_temporary, notifying_transaction
from service.domain.backoff import Backoff
from service.domain.errors import NotFound, ServiceError
from service.domain.ids import artifact_key, new_id
from service.events import store as events_store
from service.events.model import EventType, NewEvent
from service.exports import store
from service.exports.contract import StoredExport
from service.exports.model import FILE_RETENTION, MAX_ATTEMPTS, RETRY_DELAYS, ExportRef
from service.exports.operations import delete_export_file
from service.exports.store import ExportFile, ExportScope, LeasedExport
from service.exports.write_export import ExportProgress, ExportWriter
from service.log import log
from service.retries import with_retries
from service.storage import Storage, stored_path
from service.tasks.leases import DatabaseContact, LeaseLost, RenewableLease, log_temporary
from service.tasks.model import Lease
from service.tasks.store import EXPORT_TASKS
from service.tasks.workers import WorkerChecks
from service.tracing import spans

_LEASE: Final = timedelta(seconds=30)
_RENEW_EVERY_S: Final = 1.0  # also the interval of progress updates and of checks for a cancellation
_OUTAGE_WAIT: Final = timedelta(seconds=15)
_LONGEST_RETRY_DELAY_S: Final = 15.0
_NO_PARQUET: Final = (
    "the server can't write Parquet. Choose another format, or ask the operator of the service to install the extra"
    " parquet for its consumers"
)

# The outcome of one attempt: the new status, or "lost" if the export was canceled or another worker has the lease.
ExportOutcome = Literal["succeeded", "failed", "queued", "lost"]


class Exporter:
    """Executes exports. `pool` has the role results_worker.

    An outage of the database is not an attempt. An export whose lease has expired counts as crashed only if this worker
    has reached the database for `takeover_after`, because every worker loses its leases during an outage.
    """

    def __init__(
        self, pool: Pool, writer: ExportWriter, storage: Storage, link_base: str, takeover_after: timedelta = _LEASE
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._storage = storage
        self._link_base = link_base
        self._takeover_after = takeover_after
        self._contact = DatabaseContact()
        self._checks = WorkerChecks(pool)
        self._unconfirmed: UUID | None = None  # the token of a lease whose response was lost

    async def lease(self, max_running_per_organization: int) -> LeasedExport | None:
        """Lease the next due export. Return None if none is due."""
        async with self._pool.acquire() as connection:
            if self._unconfirmed:
                await store.release_unconfirmed(connection, self._unconfirmed)
            self._unconfirmed = token = uuid4()
            takes_over = self._contact.has_lasted(self._takeover_after)
            leased = await store.lease(connection, token, _LEASE, max_running_per_organization, takes_over=takes_over)
        self._unconfirmed = None
        self._contact.record()
        return leased

    async def run(self, leased: LeasedExport) -> ExportOutcome:
        """Execute a leased export. After an error, schedule a retry or mark the export as failed.

        A cancellation of this task releases the export.
        """
        outcome = await self._run(leased)
        if outcome != "succeeded":
            gc.collect()  # the error of a reader is in a reference cycle whose frames reference all unread chunks
        return outcome

    async def fail_abandoned(self) -> None:
        """Mark exports as failed whose worker crashed in the last attempt."""
        async with self._pool.acquire() as connection:
            abandoned = await store.find_abandoned(connection)
            self._contact.record()
            if self._contact.has_lasted(self._takeover_after):
                for lease in abandoned:
                    await self._fail(connection, lease, f"a worker crashed in each of {MAX_ATTEMPTS} attempts")

    async def expire_files(self) -> None:
        """Mark the exports as expired whose retention is over, and queue the deletion of their files."""
        async with self._pool.acquire() as connection:
            for ref, path in await store.find_expired(connection):
                async with connection.transaction():
                    await delete_export_file(connection, ref, path)
                    await store.expire(connection, ref)

    async def _run(self, leased: LeasedExport) -> ExportOutcome:
        lease, progress = leased.lease, ExportProgress()
        renewable = RenewableLease(self._pool, EXPORT_TASKS, lease, _LEASE, _RENEW_EVERY_S)
        logged = log.bind(export_id=lease.task_id, org_id=lease.org_id, attempt_count=leased.attempt_count)
        try:
            export = StoredExport.of_document(leased.request)
            async with renewable.renewing(lambda: (progress.fraction,)):
                write_file = partial(self._write_file, leased, export, progress)
                file = await self._checks.while_available(lease.org_id, write_file)
            await self._succeed(leased, export, file)
        except asyncio.CancelledError:
            await renewable.release()
            raise
        except LeaseLost:
            logged.info("export_claim_lost")  # a public name: other code calls this a lease
            return "lost"
        except Exception as error:
            logged.warning("export_failed", error=repr(error), exc_info=None if _is_explained(error) else error)
            spans.fail(error)
            return await _retry_during_outage(partial(self._record_failure, leased, error))
        logged.info("export_succeeded", rows=file.rows, size=file.size)
        return "succeeded"

    async def _write_file(self, leased: LeasedExport, export: StoredExport, progress: ExportProgress) -> ExportFile:
        """Write the file to a path of this attempt: a worker with an expired lease must not change a later file."""
        lease, spec = leased.lease, export.to_spec()
        file_format = spec.file_format
        path = stored_path("exports", lease.org_id, lease.task_id, f"{lease.token.hex}{file_format.suffix}")
        name = export.file_name(leased.created_at)
        async with self._storage.open_writer(path, file_format.media_type, name) as file:
            await self._writer.write(lease.org_id, spec, file, progress)
        return ExportFile(progress.rows, file.size, file.sha256, path, progress.position)

    async def _succeed(self, leased: LeasedExport, export: StoredExport, file: ExportFile) -> None:
        lease = leased.lease
        async with self._pool.acquire() as connection, notifying_transaction(connection):
            expires_at = await store.succeed(connection, lease, file, FILE_RETENTION)
            if expires_at is not None:
                if export.run_id is not None:
                    await store.insert_artifact(
                        connection, lease.org_id, export.run_id, export.project_id, artifact_key(lease.task_id),
                        export.file_name(leased.created_at), export.file_format.media_type, file, expires_at,
                    )  # fmt: skip
                await self._insert_event(
                    connection, lease, "export.completed", ExportScope(export.project_id, export.run_id)
                )
        if expires_at is None:
            await self._storage.delete(file.path)
            raise LeaseLost

    async def _record_failure(self, leased: LeasedExport, error: Exception) -> ExportOutcome:
        """Schedule a retry or mark the export as failed."""
        async with self._pool.acquire() as connection:
            if is_temporary(error):
                await EXPORT_TASKS.release(connection, leased.lease, _OUTAGE_WAIT)
            elif leased.attempt_count < MAX_ATTEMPTS and not isinstance(error, ImportError):
                delay = RETRY_DELAYS[leased.attempt_count - 1]
                await EXPORT_TASKS.retry(connection, leased.lease, delay, _reason(error))
            else:
                await self._fail(connection, leased.lease, _reason(error))
                return "failed"
        return "queued"

    async def _fail(self, connection: Connection, lease: Lease, reason: str) -> None:
        async with notifying_transaction(connection):
            scope = await store.fail(connection, lease, reason)
            if scope is not None:
                await self._insert_event(connection, lease, "export.failed", scope)

    async def _insert_event(
        self, connection: Connection, lease: Lease, event_type: EventType, scope: ExportScope
    ) -> None:
        export = await store.find_one(connection, ExportRef(lease.org_id, lease.task_id), None, self._link_base)
        if export is None:
            raise NotFound(f"export {lease.task_id!r} was deleted")
        data = orjson.dumps(export).decode()
        event = NewEvent(lease.org_id, new_id("evt"), event_type, *scope, data)
        await events_store.insert(connection, [event])


async def _retry_during_outage(record: Callable[[], Awaitable[ExportOutcome]]) -> ExportOutcome:
    """Record an outcome as soon as the database is available. Otherwise, the outage would count as a crash."""

    def log_retry(error: Exception, delay_s: float) -> None:
        log_temporary(error, work="exports", delay_s=round(delay_s, 1))

    return await with_retries(record, is_temporary, Backoff(0.2, _LONGEST_RETRY_DELAY_S), on_retry=log_retry)


def _is_explained(error: Exception) -> bool:
    """Return whether the error states its cause without a traceback: an outage, a full storage, or a missing extra."""
    return is_temporary(error) or isinstance(error, ServiceError | ImportError)


def _reason(error: Exception) -> str:
    """Return the reason of a failure for the user who requested the export."""
    if isinstance(error, ImportError):
        return _NO_PARQUET
    if isinstance(error, ServiceError):
        return str(error)
    return "internal error"
