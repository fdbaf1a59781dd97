"""Takes an export job on, and ends or forgets one. The jobs are done in run_export."""

from service.contracts.exports import ExportRequest
from service.domain.errors import NotFound
from service.domain.exports import ExportAddress
from service.domain.ids import OrgId, new_id
from service.domain.queues import EXPORTS
from service.storage import Storage
from service.store import exports, outbox
from service.store.postgres.database import Connection


async def request_export(connection: Connection, org_id: OrgId, request: ExportRequest) -> ExportAddress:
    """Queues a job; the message to the consumers is sent if and only if the job is committed."""
    job = ExportAddress(org_id, new_id("exp"))
    wanted = request.filter.to_filter()
    async with connection.transaction():
        await exports.insert(connection, job, request.to_document(), wanted.project_id, wanted.run_id)
        await outbox.put(connection, EXPORTS, {"org_id": org_id, "export_id": job.export_id})
    return job


async def end_export(connection: Connection, storage: Storage, job: ExportAddress, project_id: str | None) -> None:
    """Cancels a job that is not finished; forgets one that is, with its file. Raises NotFound where there is none."""
    if await exports.cancel(connection, job, project_id):
        return
    found = await exports.find_file(connection, job, project_id)
    if found is None:
        raise NotFound(f"there is no export {job.export_id!r}")
    if found["path"]:
        await storage.delete(found["path"])
    async with connection.transaction():
        if found["path"]:
            await exports.delete_artifact(connection, job, found["path"])
        await exports.delete(connection, job)
