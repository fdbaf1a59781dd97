"""Request, cancel, and delete export jobs. `run_export` processes the jobs."""

from service.contracts.exports import ExportRequest
from service.domain.errors import NotFound
from service.domain.exports import ExportRef
from service.domain.ids import OrgId, new_id
from service.domain.queues import EXPORTS
from service.store import exports, file_deletions, outbox
from service.store.postgres.database import Connection


async def request_export(connection: Connection, org_id: OrgId, request: ExportRequest) -> ExportRef:
    """Queue an export job. The outbox message for the consumers is part of the same transaction."""
    job = ExportRef(org_id, new_id("exp"))
    filters = request.filter.to_filter()
    async with connection.transaction():
        await exports.insert(connection, job, request.to_document(), filters.project_id, filters.run_id)
        await outbox.put(connection, EXPORTS, {"org_id": org_id, "export_id": job.export_id})
    return job


async def delete_export(connection: Connection, job: ExportRef, project_id: str | None) -> None:
    """Cancel a queued or running job, or delete a finished job. Upkeep deletes the file after the commit.

    Raises NotFound if the job doesn't exist.
    """
    if await exports.cancel(connection, job, project_id):
        return
    found = await exports.find_file(connection, job, project_id)
    if found is None:
        raise NotFound(f"export {job.export_id!r} not found")
    async with connection.transaction():
        if found["path"]:
            await delete_export_file(connection, job, found["path"])
        await exports.delete(connection, job)


async def delete_export_file(connection: Connection, job: ExportRef, path: str) -> None:
    """Delete the artifact of the file, and queue the deletion of the file, in the caller's transaction."""
    await exports.delete_artifact(connection, job, path)
    await file_deletions.queue(connection, job.org_id, path)
