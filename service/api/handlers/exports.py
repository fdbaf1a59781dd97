"""Handlers of bulk exports: request, list, get, and delete a job, and download its file."""

from datetime import timedelta
from typing import Final

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.downloads import Download, send_file
from service.api.http.long_polling import requested_wait_s, wait_until_finished
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import compact, reply_json, reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.exports import ExportRequest
from service.contracts.queries import PageQuery
from service.contracts.stored_exports import StoredExport, UnsupportedExport
from service.domain.cursors import Cursors, ids
from service.domain.errors import Conflict, Forbidden, Gone, NotFound
from service.domain.exports import ExportRef
from service.domain.filters import restrict_to_project
from service.domain.ids import is_id
from service.domain.keys import Caller
from service.store import exports
from service.store.postgres.database import Connection, as_organization
from service.store.queries import results as read_results
from service.usecases.exports import request_export as jobs

_LINK_LIFETIME: Final = timedelta(minutes=5)
_CURSOR_CODEC: Final = ids("exp")


async def create_export(request: web.Request) -> web.Response:
    """Request an export."""
    caller, link_base = get_caller(request), request.app[RESOURCES].settings.link_base
    export_request = _within_project(await parse_body(request, ExportRequest), caller)

    async def create(connection: Connection) -> web.Response:
        await read_results.check_sortable(connection, caller.org_id, export_request.filter.to_filter(), "filter.sort")
        job = await jobs.request_export(connection, caller.org_id, export_request)
        text = await exports.find_one(connection, job, None, link_base)
        return reply_json(text or "null", 202, {"Location": f"/v1/results/export/{job.export_id}"})

    return await mutate(request, create)


async def list_exports(request: web.Request) -> web.Response:
    """List exports, newest first."""
    query = parse_query(request, PageQuery)
    caller, resources = get_caller(request), request.app[RESOURCES]
    cursors = Cursors(_CURSOR_CODEC, "exports", caller.org_id, {"project_id": caller.project_id})
    before = cursors.read(query.starting_after)
    async with as_organization(resources.pool, caller.org_id) as connection:
        page = await exports.list_page(
            connection, caller.org_id, caller.project_id, before, query.limit, resources.settings.link_base
        )
    return reply_page(compact(page.data), cursors.write(page.next))


async def get_export(request: web.Request) -> web.Response:
    """Return an export. With `wait`, return when it is finished or the wait time is over."""
    wait_s = requested_wait_s(request)
    text = await _find(request)
    if wait_s and orjson.loads(text)["finished_at"] is None:
        await wait_until_finished(request, request.app[RESOURCES].export_watch, _job(request).export_id, wait_s)
        text = await _find(request)
    return reply_with_etag(text)


async def delete_export(request: web.Request) -> web.Response:
    """Cancel an export, or delete a finished export and its file."""
    project_id, job = get_caller(request).project_id, _job(request)

    async def delete(connection: Connection) -> web.Response:
        await jobs.delete_export(connection, job, project_id)
        return web.Response(status=204)

    return await mutate(request, delete)


async def download_export(request: web.Request) -> web.StreamResponse:
    """Download the file of an export, directly or through a redirect to the storage."""
    resources, file = request.app[RESOURCES], await _find_file(request)
    if resources.settings.artifacts_redirect:
        url = await resources.storage.presign(file.path, _LINK_LIFETIME)
        if url is not None:
            return web.Response(status=307, headers={"Location": url, "Cache-Control": "no-store"})
    return await send_file(request, resources.storage, file)


async def _find(request: web.Request) -> str:
    """Return the job as JSON."""
    caller, resources, job = get_caller(request), request.app[RESOURCES], _job(request)
    async with as_organization(resources.pool, caller.org_id) as connection:
        text = await exports.find_one(connection, job, caller.project_id, resources.settings.link_base)
    if text is None:
        raise _export_not_found(request)
    return text


async def _find_file(request: web.Request) -> Download:
    caller, job = get_caller(request), _job(request)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        found = await exports.find_file(connection, job, caller.project_id)
    if found is None:
        raise _export_not_found(request)
    if found["status"] == "expired":
        raise Gone("the export has expired and its file was deleted; request a new export")
    if found["status"] != "succeeded":
        raise Conflict(f"the export has no file, because its status is {found['status']}")
    try:
        export = StoredExport.of_document(found["request"])
        name, media_type = export.file_name(found["created_at"]), export.file_format.media_type
    except UnsupportedExport as error:
        raise Conflict(f"the file can't be returned: {error}") from error
    return Download(found["path"], name, media_type, found["size"], found["sha256"])


def _within_project(export_request: ExportRequest, caller: Caller) -> ExportRequest:
    """Restrict the request to the project of the key. Raises Forbidden if it names another project."""
    if restrict_to_project(export_request.filter.to_filter(), caller.project_id) is None:
        raise Forbidden(f"this key is bound to the project {caller.project_id!r}")
    return export_request if caller.project_id is None else export_request.within_project(caller.project_id)


def _job(request: web.Request) -> ExportRef:
    """Return the job in the path. Raises NotFound if the ID is malformed."""
    if not is_id("exp", request.match_info["id"]):
        raise _export_not_found(request)
    return ExportRef(get_caller(request).org_id, request.match_info["id"])


def _export_not_found(request: web.Request) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization."""
    return NotFound(f"export {request.match_info['id'][:100]!r} not found")
