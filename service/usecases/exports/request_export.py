"""Request, cancel, and delete export jobs. `run_export` processes the jobs."""

from typing import Final

from service.contracts.exports import ExportRequest
from service.domain.errors import Forbidden, Gone, InvalidRequest, NotFound
from service.domain.exports import ExportRef
from service.domain.filters import restrict_to_project
from service.domain.ids import OrgId, is_id, new_id
from service.domain.keys import Caller
from service.domain.queues import EXPORTS
from service.domain.streams import AFTER_LAST
from service.store import exports, file_deletions, outbox
from service.store.postgres.database import Connection
from service.store.postgres.transactions import notifying_transaction
from service.store.queries import projects
from service.store.queries.results import check_sortable
from service.usecases.events.positions import find_position

_UPDATED_SINCE: Final = "updated_since"


def export_ref(caller: Caller, export_id: str) -> ExportRef:
    """Return the identity of a job of the caller's organization. Raises NotFound if the ID is malformed."""
    if not is_id("exp", export_id):
        raise export_not_found(export_id)
    return ExportRef(caller.org_id, export_id)


def export_not_found(export_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization."""
    return NotFound(f"export {export_id[:100]!r} not found")


async def request_export(connection: Connection, caller: Caller, request: ExportRequest) -> ExportRef:
    """Queue an export job. The outbox message for the consumers is part of the same transaction.

    A key that is bound to a project exports only that project. Raises Forbidden if the request names another one,
    InvalidRequest, also for a run that is too large to sort, and Gone if changes after `updated_since` can be unknown.
    """
    request = _within_project_of(caller, request)
    request.check_content()
    job = ExportRef(caller.org_id, new_id("exp"))
    filters = request.filter.to_filter()
    document = request.to_document()
    if request.updated_since is None:
        await _check_project(connection, caller, filters.project_id)
    else:  # the increment of a copy lists the deleted runs of a project that no longer exists
        document["changed_after"] = await find_changed_after(connection, caller.org_id, request.updated_since)
    await check_sortable(connection, caller.org_id, filters, "filter.sort")
    async with notifying_transaction(connection):
        await exports.insert(connection, job, document, filters.project_id, filters.run_id)
        await outbox.put(connection, EXPORTS, {"org_id": caller.org_id, "export_id": job.export_id})
    return job


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
    if await projects.find_one(connection, caller.org_id, project_id) is None:
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


async def delete_export(connection: Connection, job: ExportRef, project_id: str | None) -> None:
    """Cancel a queued or running job, or delete a finished job. Upkeep deletes the file after the commit.

    Raises NotFound if the job doesn't exist.
    """
    if await exports.cancel(connection, job, project_id):
        return
    found = await exports.find_file(connection, job, project_id)
    if found is None:
        raise export_not_found(job.export_id)
    async with notifying_transaction(connection):
        if found["path"]:
            await delete_export_file(connection, job, found["path"])
        await exports.delete(connection, job)


async def delete_export_file(connection: Connection, job: ExportRef, path: str) -> None:
    """Delete the artifact of the file, and queue the deletion of the file, in the caller's transaction."""
    await exports.delete_artifact(connection, job, path)
    await file_deletions.queue(connection, job.org_id, [path])
