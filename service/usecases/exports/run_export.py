"""Does export jobs: claims one, streams its rows into a file, and says how it ended. Nobody sees half a file."""

import asyncio
import contextlib
import gc
from datetime import timedelta
from functools import partial
from typing import Final, Literal
from uuid import uuid4

from service.contracts.exports import ExportRequest
from service.domain.errors import NotFound, ServiceError, Unavailable
from service.domain.events import EventType, NewEvent
from service.domain.exports import KEPT, MAX_TRIES, RETRY_WAITS, ExportOrder
from service.domain.ids import artifact_key, new_id
from service.log import log
from service.storage import Storage, stored_path
from service.store import events, exports
from service.store.exports import Claim, ClaimedExport, MadeFile
from service.store.postgres.database import DRIVER_ERRORS, Connection, Pool, is_outage
from service.store.postgres.transactions import notifying_transaction
from service.usecases.exports.write_export import ExportWriter, Progress
from service.usecases.leases import ClaimLost, keeping

_LEASE: Final = timedelta(seconds=30)
_BEAT_S: Final = 1.0  # also how soon a cancellation is noticed, and how often progress is told
_LEFT_KEPT: Final = timedelta(days=1)  # longer than any export takes
_NO_PARQUET: Final = "this server can't write Parquet: its extra `parquet` is not installed"

# What became of an export in one try: its status, or "lost" where it was canceled or is somebody else's by now.
ExportEnd = Literal["succeeded", "failed", "queued", "lost"]


class Exporter:
    """The use case with what it needs; `jobs` is a pool of results_worker."""

    def __init__(self, jobs: Pool, writer: ExportWriter, storage: Storage, link_base: str) -> None:
        self._jobs = jobs
        self._writer = writer
        self._storage = storage
        self._link_base = link_base

    async def claim(self, at_once: int) -> ClaimedExport | None:
        """The next job, if any; `at_once` is how many of one organization may run."""
        async with self._jobs.acquire() as connection:
            return await exports.claim(connection, uuid4(), _LEASE, at_once)

    async def run(self, claimed: ClaimedExport) -> ExportEnd:
        """Does a job to its end or, where that fails, puts it back or ends it as failed. Canceled, it gives it back."""
        end = await self._run(claimed)
        if end != "succeeded":
            gc.collect()  # an error that came through task groups is in a cycle, and its frames hold all unread chunks
        return end

    async def end_abandoned(self) -> None:
        """Ends the jobs whose last try ended with its worker."""
        async with self._jobs.acquire() as connection:
            for held, request in await exports.find_abandoned(connection):
                await self._fail(connection, held, request, f"the worker died {MAX_TRIES} times over this export")

    async def expire(self) -> None:
        """Deletes the files that were kept long enough."""
        async with self._jobs.acquire() as connection:
            for job, path in await exports.find_expired(connection):
                await self._storage.delete(path)
                async with connection.transaction():
                    await exports.delete_artifact(connection, job, path)
                    await exports.expire(connection, job)

    async def sweep(self, kept: timedelta = _LEFT_KEPT) -> None:
        """Deletes what killed writers have left: half-written files, and whole ones that no job came to own."""
        await asyncio.to_thread(self._storage.sweep, kept)
        async for paths in self._storage.list_old("exports", kept):
            async with self._jobs.acquire() as connection:
                unowned = await exports.find_unowned(connection, paths)
            for path in unowned:
                await self._storage.delete(path)
                log.info("unowned_export_deleted", path=path)

    async def _run(self, claimed: ClaimedExport) -> ExportEnd:
        held, progress = claimed.claim, Progress()
        logged = log.bind(export_id=held.export_id, org_id=held.org_id, attempt_count=claimed.attempt_count)
        try:
            async with keeping(partial(self._beat, held, progress), _BEAT_S):
                order = ExportRequest.model_validate(claimed.request).to_order()
                file = await self._make_file(claimed, order, progress)
            await self._succeed(held, order, order.file_name(claimed.created_at), file)
        except asyncio.CancelledError:
            await self._give_back(held)
            raise
        except ClaimLost:
            logged.info("export_claim_lost")
            return "lost"
        except Exception as error:
            logged.warning("export_failed", exc_info=error)
            return await self._note_failure(claimed, error)
        logged.info("export_succeeded", rows=file.rows, size=file.size)
        return "succeeded"

    async def _beat(self, held: Claim, progress: Progress) -> bool:
        async with self._jobs.acquire() as connection:
            return await exports.beat(connection, held, _LEASE, progress.share)

    async def _make_file(self, claimed: ClaimedExport, order: ExportOrder, progress: Progress) -> MadeFile:
        """Each try has a path of its own: a worker that was thought dead can't touch its successor's file."""
        held = claimed.claim
        path = stored_path("exports", held.org_id, held.export_id, f"{held.token.hex}{order.suffix}")
        name = order.file_name(claimed.created_at)
        async with self._storage.writing(path, order.content_type, name) as file:
            await self._writer.write(held.org_id, order, file, progress)
        return MadeFile(progress.rows, file.size, file.sha256, path)

    async def _succeed(self, held: Claim, order: ExportOrder, name: str, file: MadeFile) -> None:
        async with self._jobs.acquire() as connection:
            async with notifying_transaction(connection):
                expires_at = await exports.succeed(connection, held, file, KEPT)
                if expires_at is not None:
                    if order.filter.run_id is not None:
                        await exports.insert_artifact(
                            connection, held.org_id, order.filter.run_id, artifact_key(held.export_id), name,
                            order.content_type, file, expires_at,
                        )  # fmt: skip
                    await self._tell(connection, held, "export.completed", order.filter.project_id, order.filter.run_id)
            if expires_at is None:
                await self._storage.delete(file.path)
                raise ClaimLost

    async def _note_failure(self, claimed: ClaimedExport, error: Exception) -> ExportEnd:
        """Another try, or the end. Where not even that can be written, the lease runs out by itself."""
        reason = _reason(error)
        try:
            async with self._jobs.acquire() as connection:
                if claimed.attempt_count < MAX_TRIES and not isinstance(error, ImportError):
                    wait = RETRY_WAITS[claimed.attempt_count - 1]
                    await exports.try_again(connection, claimed.claim, reason, wait)
                else:
                    await self._fail(connection, claimed.claim, claimed.request, reason)
                    return "failed"
        except Exception as outage:
            if not is_outage(outage):
                raise
            log.warning("store_unreachable", work="exports", error=repr(outage))
        return "queued"

    async def _fail(self, connection: Connection, held: Claim, request: dict[str, object], reason: str) -> None:
        wanted = ExportRequest.model_validate(request).filter.to_filter()
        async with notifying_transaction(connection):
            failed = await exports.fail(connection, held, reason)
            if failed:
                await self._tell(connection, held, "export.failed", wanted.project_id, wanted.run_id)

    async def _tell(
        self, connection: Connection, held: Claim, event: EventType, project_id: str | None, run_id: str | None
    ) -> None:
        data = await exports.find_one(connection, held.job, None, self._link_base)
        if data is None:
            raise NotFound(f"export {held.export_id} is gone")
        made = NewEvent(held.org_id, new_id("evt"), event, project_id, run_id, data)
        await events.insert(connection, [made])

    async def _give_back(self, held: Claim) -> None:
        with contextlib.suppress(OSError, *DRIVER_ERRORS):
            async with self._jobs.acquire() as connection:
                await exports.give_back(connection, held)


def _reason(error: Exception) -> str:
    """Why, for the person who asked for the export."""
    if isinstance(error, ImportError):
        return _NO_PARQUET
    if isinstance(error, ServiceError):
        return str(error)
    if is_outage(error):
        return str(Unavailable("the database does not answer"))
    return "something went wrong on our side"
