"""Exports for a caller: the list, the request, the deletion, and the file. `run_export` executes them."""

from typing import Final, NamedTuple

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, read_page_by_id
from service.database.transactions import notifying_transaction
from service.domain.errors import Conflict, Forbidden, Gone, InvalidRequest, NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import OrgId, new_id
from service.domain.object_kinds import ObjectKind
from service.events import outbox
from service.events.model import AFTER_LAST
from service.events.operations import find_position
from service.exports import store
from service.exports.contract import Export, ExportRequest, StoredExport, UnsupportedExport
from service.exports.model import ExportRef
from service.identity.keys.model import Caller
from service.projects import store as projects_store
from service.results.queries import check_sortable
from service.retention import file_deletions
from service.tasks.model import EXPORTS

_EXPORT: Final = ObjectKind("export", "exp")
_UPDATED_SINCE: Final = "updated_since"


async def list_exports(pool: Pool, caller: Caller, query: PageQuery, link_base: str) -> ListPage[Export]:
    """Return exports, newest first. Raises InvalidRequest for a cursor of another list."""
    return await read_page_by_id(pool, caller, _EXPORT, query, store.list_page, link_base)


async def find_export(pool: Pool, caller: Caller, export_id: str, link_base: str) -> Export:
    """Return an export. Raises NotFound."""
    ref = export_ref(caller, export_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_export(connection, ref, caller.project_id, link_base)


async def read_export(connection: Connection, ref: ExportRef, project_id: str | None, link_base: str) -> Export:
    """Return an export. Raises NotFound."""
    return _EXPORT.require(await store.find_one(connection, ref, project_id, link_base), ref.export_id)


def export_ref(caller: Caller, export_id: str) -> ExportRef:
    """Return the reference to an export of the caller's organization. Raises NotFound if the ID is malformed."""
    return ExportRef(caller.org_id, _EXPORT.check_id(export_id))


async def request_export(connection: Connection, caller: Caller, request: ExportRequest) -> ExportRef:
    """Queue an export. The outbox message for the consumers is part of the same transaction.

    A key that is bound to a project exports only that project. Raises Forbidden if the request names another one,
    InvalidRequest, also for a run that is too large to sort, and Gone if changes after `updated_since` can be unknown.
    """
    request = _within_project_of(caller, request)
    request.check_content()
    ref = ExportRef(caller.org_id, new_id("exp"))
    filters = request.filter.to_filter()
    document = request.to_document()
    if request.updated_since is None:
        await _check_project(connection, caller, filters.project_id)
    else:  # the increment of a copy lists the deleted runs of a project that no longer exists
        document["changed_after"] = await find_changed_after(connection, caller.org_id, request.updated_since)
    await check_sortable(connection, caller.org_id, filters, "filter.sort")
    async with notifying_transaction(connection):
        await store.insert(connection, ref, document, filters.project_id, filters.run_id)
        await outbox.put(connection, EXPORTS, {"org_id": caller.org_id, "export_id": ref.export_id})
    return ref


def _within_project_of(caller: Caller, request: ExportRequest) -> ExportRequest:
    """Restrict the request to the project of the key. Raises Forbidden if it names another project."""
    if restrict_to_project(request.filter.to_filter(), caller.project_id) is None:
        raise Forbidden(f"this {caller.noun} is bound to the project {caller.project_id!r}")
    return request if caller.project_id is None else request.within_project(caller.project_id)


async def _check_project(connection: Connection, caller: Caller, project_id: str | None) -> None:
    """Raise InvalidRequest if the organization doesn't have this project: the export would succeed without rows.

    That of the key exists for its user, although it is stored with its first run. A run isn't checked, because it can
    be stored before the export begins.
    """
    if project_id is None or project_id == caller.project_id:
        return
    if await projects_store.find_one(connection, caller.org_id, project_id) is None:
        raise InvalidRequest(f"filter.project_id: project {project_id[:100]!r} not found", "filter.project_id")


async def find_changed_after(connection: Connection, org_id: OrgId, position: str) -> int:
    """Return the event number of a position. Raises InvalidRequest if the event is unknown or isn't numbered yet, and
    Gone if changes after the position can be unknown."""
    try:
        number = await find_position(connection, org_id, position, _UPDATED_SINCE)
    except NotFound as error:
        raise InvalidRequest(str(error), _UPDATED_SINCE) from error
    except Gone as error:
        raise Gone(f"{error}, and delete the copy") from error
    if number == AFTER_LAST:
        raise InvalidRequest(f"{_UPDATED_SINCE}: position {position!r} not found", _UPDATED_SINCE)
    return number


async def delete_export(connection: Connection, ref: ExportRef, project_id: str | None) -> None:
    """Cancel a queued or running export, or delete a finished one. Upkeep deletes the file after the commit.

    Raises NotFound if the export doesn't exist.
    """
    if await store.cancel(connection, ref, project_id):
        return
    found = _EXPORT.require(await store.find_file(connection, ref, project_id), ref.export_id)
    async with notifying_transaction(connection):
        if found["path"]:
            await delete_export_file(connection, ref, found["path"])
        await store.delete(connection, ref)


async def delete_export_file(connection: Connection, ref: ExportRef, path: str) -> None:
    """Delete the artifact of the file, and queue the deletion of the file, in the caller's transaction."""
    await store.delete_artifact(connection, ref, path)
    await file_deletions.queue(connection, ref.org_id, [path])


class ExportDownload(NamedTuple):
    """The file of a finished export in the storage of the service, with the name and type of its download."""

    path: str
    name: str
    media_type: str
    size: int
    sha256: bytes


async def find_export_file(pool: Pool, caller: Caller, export_id: str) -> ExportDownload:
    """Return the file of an export. Raises NotFound, Gone if it has expired, and Conflict if there is no file."""
    ref = export_ref(caller, export_id)
    async with as_organization(pool, caller.org_id) as connection:
        found = _EXPORT.require(await store.find_file(connection, ref, caller.project_id), export_id)
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
