"""Handlers of exports: request, list, get, and delete an export, and download its file."""

from typing import Final

from aiohttp import web

from service.contracts.queries import PageQuery, WaitQuery
from service.exports import operations
from service.exports.contract import Export, ExportRequest
from service.exports.model import ExportRef
from service.http.authentication import get_caller
from service.http.downloads import Download, send_or_redirect
from service.http.mutations import mutate, mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.http.routes import Operation, Route, file_download, page_of, with_etag
from service.http.waiting import requested_wait_s, wait_until_finished
from service.mutations.operations import Transaction


async def create_export(request: web.Request) -> web.Response:
    """Request an export."""
    caller, link_base = get_caller(request), request.app[RESOURCES].settings.link_base
    export_request = await parse_body(request, ExportRequest)

    async def create(transaction: Transaction) -> web.Response:
        ref = await operations.request_export(transaction, caller, export_request)
        export = await operations.read_export(transaction, ref, caller.project_id, link_base)
        return reply(export, 202, {"Location": f"/v1/results/export/{ref.export_id}"})

    return await mutate(request, create)


async def list_exports(request: web.Request) -> web.Response:
    """List exports, newest first."""
    query, resources = parse_query(request, PageQuery), request.app[RESOURCES]
    caller, link_base = get_caller(request), resources.settings.link_base
    return reply_page(await operations.list_exports(resources.pool, caller, query, link_base))


async def get_export(request: web.Request) -> web.Response:
    """Return an export. With `wait`, return when it is finished or the wait time is over."""
    wait_s = requested_wait_s(request)
    export = await _find(request)
    if wait_s and export["finished_at"] is None:
        await wait_until_finished(request, request.app[RESOURCES].export_watch, _ref(request).export_id, wait_s)
        export = await _find(request)
    return add_etag(reply(export))


async def delete_export(request: web.Request) -> web.Response:
    """Cancel an export, or delete a finished export and its file."""
    project_id, ref = get_caller(request).project_id, _ref(request)
    return await mutate_object(request, operations.delete_export, ref, project_id)


async def download_export(request: web.Request) -> web.StreamResponse:
    """Download the file of an export, directly or through a redirect to the storage."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    file = await operations.find_export_file(pool, caller, request.match_info["id"])
    return await send_or_redirect(request, Download(*file))


async def _find(request: web.Request) -> Export:
    resources = request.app[RESOURCES]
    return await operations.find_export(
        resources.pool, get_caller(request), request.match_info["id"], resources.settings.link_base
    )


def _ref(request: web.Request) -> ExportRef:
    """Return the reference to the export in the path. Raises NotFound if the ID is malformed."""
    return operations.export_ref(get_caller(request), request.match_info["id"])


ROUTES: Final = (
    Route("POST", "/results/export", create_export, "results:export", Operation(
        "create_export", "Request an export", {202: Export}, body=ExportRequest, errors=("gone",),
        has_location=True,
    )),
    Route("GET", "/results/export", list_exports, "results:export", Operation(
        "list_exports", "List exports, newest first", page_of(Export), PageQuery,
    )),
    Route("GET", "/results/export/{id}", get_export, "results:export", Operation(
        "get_export", "Get an export", with_etag(Export), WaitQuery, errors=("not_found",),
        description="With `wait`, responds when the export is finished, or after that time with its current state.",
    )),
    Route("DELETE", "/results/export/{id}", delete_export, "results:export", Operation(
        "delete_export", "Cancel an export, or delete a finished one with its file", {204: None},
        errors=("not_found",),
    )),
    Route("GET", "/results/export/{id}/file", download_export, "results:export", Operation(
        "download_export", "Download the file of an export", file_download(),
        errors=("not_found", "conflict", "gone", "range_not_satisfiable"),
        description="Sends the file or redirects to a presigned URL.",
    )),
)  # fmt: skip
