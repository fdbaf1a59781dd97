"""Artifacts over HTTP: the lists of the artifacts of results and runs, and their files."""

import re
from functools import partial
from typing import Final

from aiohttp import web

from service.artifacts import operations
from service.artifacts.contract import Artifact, ArtifactQuery, RunArtifactQuery, RunArtifactsQuery
from service.artifacts.operations import CaseSelector, FindOwner, find_artifact_owner
from service.artifacts.store_artifact import (
    NamedFile,
    check_upload,
    find_artifact,
    receive_artifact,
    record_artifact,
)
from service.contracts.queries import PageQuery
from service.domain.errors import InvalidRequest, UnsupportedMediaType
from service.domain.texts import MAX_TEXT
from service.domain.variants import parse_pairs
from service.http.authentication import get_caller
from service.http.bodies import body_chunks, check_content_length, content_encoding, safe_content_type
from service.http.downloads import Download, send_or_redirect
from service.http.mutations import mutate
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import BINARY, Operation, Route, file_download, page_of
from service.mutations.operations import Transaction
from service.reports.accept_report import UploadPart
from service.reports.untrusted_uploads import quota_of

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


async def list_artifacts(request: web.Request) -> web.Response:
    """List the artifacts of a result, and the exports of its run."""
    query, caller, resources = parse_query(request, PageQuery), get_caller(request), request.app[RESOURCES]
    result_id, link_base = request.match_info["id"], resources.settings.link_base
    return reply_page(await operations.list_artifacts(resources.pool, caller, result_id, query, link_base))


async def list_run_artifacts(request: web.Request) -> web.Response:
    """List the artifacts of a run that belong to none of its results, or the files that a report of the run names."""
    query, caller, resources = parse_query(request, RunArtifactsQuery), get_caller(request), request.app[RESOURCES]
    arguments = resources.pool, caller, request.match_info["run_id"]
    link_base = resources.settings.link_base
    if query.receipt_id is None:
        return reply_page(await operations.list_run_artifacts(*arguments, query, link_base))
    return reply_page(await operations.list_report_files(*arguments, query.receipt_id, query, link_base))


async def upload_artifact(request: web.Request) -> web.Response:
    """Upload a file of a result. A file of the same name is replaced."""
    query, caller, result_id = parse_query(request, ArtifactQuery), get_caller(request), request.match_info["id"]
    find = partial(operations.read_result_key, caller=caller, result_id=result_id)
    return await _upload(request, query, NamedFile(_name(request, "name"), query.kind, None), find)


async def upload_run_artifact(request: web.Request) -> web.Response:
    """Upload a file of a run, or of one of its results. A file of the same name is replaced."""
    query, caller, run_id = parse_query(request, RunArtifactQuery), get_caller(request), request.match_info["run_id"]
    name = query.of_attempt(_name(request, "file_name"))
    selector = CaseSelector(query.case, query.suite, query.name, parse_pairs(query.variant))
    find = partial(find_artifact_owner, caller=caller, run_id=run_id, selector=selector)
    return await _upload(request, query, NamedFile(name, query.kind, query.receipt_id), find)


async def _upload(request: web.Request, query: ArtifactQuery, file: NamedFile, find_owner: FindOwner) -> web.Response:
    caller, resources = get_caller(request), request.app[RESOURCES]
    settings = resources.settings
    quota = quota_of(caller, settings.artifact_limits, settings.untrusted_limits)
    part = _part(request, file.name)
    new = await check_upload(resources.pool, caller, find_owner, file, quota, request.content_length or 0)
    async with resources.uploads.slot(caller.credential_id):
        stored = await receive_artifact(resources.storage, new, part, query.sha256, _limit(request))
    inserted = False

    async def insert(transaction: Transaction) -> web.Response:
        nonlocal inserted
        found = await find_artifact(transaction, caller, find_owner, file)  # it can be deleted during the upload
        inserted = await record_artifact(transaction, caller, found, stored, quota)
        artifact = await operations.read_artifact(transaction, caller.org_id, found.row_key, settings.link_base)
        return reply(artifact, 201 if inserted else 200, {"Location": f"/v1/artifacts/{artifact['id']}"})

    try:
        return await mutate(request, insert, fingerprint=bytes.fromhex(stored.sha256), unchanged=200)
    finally:
        if not inserted:
            await resources.storage.delete(stored.path)


async def download_artifact(request: web.Request) -> web.StreamResponse:
    """Return the file of an artifact, or a redirect to it in object storage."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    found = await operations.find_file(pool, caller, request.match_info["id"])
    content_type = safe_content_type(found.content_type) or "application/octet-stream"
    file = Download(found.path, found.name, content_type, found.size, found.sha256, found.byte_offset)
    return await send_or_redirect(request, file)


def _part(request: web.Request, name: str) -> UploadPart:
    if content_encoding(request):
        raise UnsupportedMediaType("Content-Encoding is not supported for artifacts. Send the file without it.")
    check_content_length(request, _limit(request))
    return UploadPart(name, safe_content_type(request.headers.get("Content-Type")), body_chunks(request))


def _limit(request: web.Request) -> int:
    return request.app[RESOURCES].settings.artifact_max_bytes


def _name(request: web.Request, param: str) -> str:
    """Return the name of the artifact. It can contain slashes, but no path segment that is empty, `.`, or `..`."""
    name = request.match_info[param]
    parts = name.replace("\\", "/").split("/")
    if len(name) > MAX_TEXT or _UNPRINTABLE.search(name) or not {"", ".", ".."}.isdisjoint(parts):
        raise InvalidRequest(
            f"{param}: must be a relative path of at most {MAX_TEXT} printable characters without '.' and '..'", param
        )
    return name


RESULT_ROUTES: Final = (
    Route("GET", "/results/{id}/artifacts", list_artifacts, "results:read", Operation(
        "list_artifacts", "List the artifacts of a result", page_of(Artifact), PageQuery,
        errors=("not_found",),
        description="The files and the output of the result, and the exports that were requested for its run.",
    )),
    Route("PUT", "/results/{id}/artifacts/{name}", upload_artifact, "reports:create", Operation(
        "upload_artifact", "Upload an artifact of a result", {200: Artifact, 201: Artifact},
        ArtifactQuery, media_types=(BINARY,),
        errors=("not_found", "conflict", "too_large", "unsupported_media_type"),
        description="Replaces an artifact with the same name. Responds with 200 if it already has these bytes.",
    ), or_permission="reports:create_untrusted"),
    Route("GET", "/artifacts/{id}", download_artifact, "results:read", Operation(
        "download_artifact", "Download an artifact", file_download(), errors=("not_found", "range_not_satisfiable"),
        description="Sends the file or redirects to a presigned URL.",
    )),
)  # fmt: skip
RUN_ROUTES: Final = (
    Route("GET", "/runs/{run_id}/artifacts", list_run_artifacts, "results:read", Operation(
        "list_run_artifacts", "List the artifacts of a run", page_of(Artifact), RunArtifactsQuery,
        errors=("not_found",),
        description="The uploaded reports, all output of each upload, the output of suites, the files that no result"
        " refers to, and the exports. The files and the output of a result are in the list of the result.",
    )),
    Route("PUT", "/runs/{run_id}/artifacts/{file_name}", upload_run_artifact, "reports:create", Operation(
        "upload_run_artifact", "Upload an artifact of a run or of one of its results",
        {200: Artifact, 201: Artifact}, RunArtifactQuery, media_types=(BINARY,),
        errors=("not_found", "conflict", "too_large", "unsupported_media_type"),
        description="`case`, or `suite` and `name`, state the result. Replaces an artifact with the same name. Responds"
        " with 200 if it already has these bytes.",
    ), or_permission="reports:create_untrusted"),
)  # fmt: skip
