"""Export jobs for a caller: a page of the list, one job, and its file."""

from typing import Final, NamedTuple

from service.contracts.queries import PageQuery
from service.contracts.responses import Export
from service.contracts.stored_exports import StoredExport, UnsupportedExport
from service.domain.cursors import Cursors, ids
from service.domain.errors import Conflict, Gone
from service.domain.exports import ExportRef
from service.domain.keys import Caller
from service.store import exports
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage
from service.usecases.exports.request_export import export_not_found, export_ref
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = ids("exp")


class ExportDownload(NamedTuple):
    """The file of a finished export in the storage of the service, with the name and type of its download."""

    path: str
    name: str
    media_type: str
    size: int
    sha256: bytes


async def list_exports(pool: Pool, caller: Caller, query: PageQuery, link_base: str) -> ListPage[Export]:
    """Return exports, newest first. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, before: str | None) -> RowPage[Export, str]:
        return await exports.list_page(connection, caller.org_id, caller.project_id, before, query.limit, link_base)

    cursors = Cursors(_CODEC, "exports", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_export(pool: Pool, caller: Caller, export_id: str, link_base: str) -> Export:
    """Return a job. Raises NotFound."""
    job = export_ref(caller, export_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_export(connection, job, caller.project_id, link_base)


async def read_export(connection: Connection, job: ExportRef, project_id: str | None, link_base: str) -> Export:
    """Return a job. Raises NotFound."""
    export = await exports.find_one(connection, job, project_id, link_base)
    if export is None:
        raise export_not_found(job.export_id)
    return export


async def find_export_file(pool: Pool, caller: Caller, export_id: str) -> ExportDownload:
    """Return the file of a job. Raises NotFound, Gone if it has expired, and Conflict if the job has no file."""
    job = export_ref(caller, export_id)
    async with as_organization(pool, caller.org_id) as connection:
        found = await exports.find_file(connection, job, caller.project_id)
    if found is None:
        raise export_not_found(export_id)
    if found["status"] == "expired":
        raise Gone("the export has expired and its file was deleted; request a new export")
    if found["status"] != "succeeded":
        raise Conflict(f"the export has no file, because its status is {found['status']}")
    try:
        export = StoredExport.of_document(found["request"])
        name, media_type = export.file_name(found["created_at"]), export.file_format.media_type
    except UnsupportedExport as error:
        raise Conflict(f"the file can't be returned: {error}") from error
    return ExportDownload(found["path"], name, media_type, found["size"], found["sha256"])
