"""Upload of reports over HTTP: the response is a receipt."""

from typing import Any, Final

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from service.domain.codeowners import MAX_OWNERS_BYTES
from service.domain.errors import InvalidRequest, UnsupportedMediaType
from service.domain.texts import replace_unstorable
from service.http.authentication import get_caller
from service.http.bodies import MULTIPART, body_chunks, check_content_length, content_encoding, peek, read_form_parts
from service.http.mutations import mutate
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply
from service.http.routes import BINARY, Operation, Route
from service.ingest.contract import Identifier
from service.mutations.operations import Transaction
from service.receipts.contract import Receipt, write_receipt
from service.receipts.operations import read_receipt
from service.reports.accept_report import UploadPart, UploadWriter, accept_report, check_upload, identify
from service.reports.contract import OwnersIn, ReportQuery
from service.reports.form_documents import read_document
from service.reports.format_table import normalize_upload_type, supported_formats, upload_media_types
from service.reports.found_files import is_report
from service.reports.model import StoredPart, Upload
from service.reports.report_heads import HEAD_BYTES
from service.reports.untrusted_uploads import quota_of
from service.splits.read_assignments import UploadedAssignments

_RUN_ID: Final = TypeAdapter(Identifier)
_REPORT: Final = "report"
_SPLIT: Final = "split"
_OWNERS: Final = "owners"
# The fields of a form and their descriptions.
FORM_FILES: Final = {
    _REPORT: "Reports of the run, in any of the supported formats, and ZIP and TAR archives of reports",
    "attachment": "Files to which the reports refer, such as screenshots",
    _SPLIT: "JSON documents of the items of splits that the job executes. Gzip can compress them",
    _OWNERS: "JSON document of the owners of files (CODEOWNERS). Gzip can compress it. Untrusted runs have no owners",
}


async def upload_report(request: web.Request) -> web.Response:
    """Store the uploaded report and queue it. The receipt shows the outcome. An empty report returns 400."""
    caller, resources = get_caller(request), request.app[RESOURCES]
    run_id, query = _run_id(request), parse_query(request, ReportQuery)
    settings = resources.settings
    quota = quota_of(caller, settings.artifact_limits, settings.untrusted_limits)
    size = request.content_length or 0
    run = await check_upload(resources.pool, caller, run_id, query, settings.retention, quota, size)
    check_content_length(request, settings.report_max_bytes)
    writer = UploadWriter(resources.storage, caller.org_id, settings.report_max_bytes)
    assignments = UploadedAssignments(caller, query.project_id)
    queued = False

    async def accept(transaction: Transaction) -> web.Response:
        nonlocal queued
        receipt_id, is_new = await accept_report(
            transaction, caller.org_id, writer.receipt_id, run_id, upload, caller.job, assignments.documents
        )
        await assignments.store(transaction, receipt_id)
        if is_new or caller.is_public:  # each request of a public key adds to the audit trail
            counted = upload.parts if caller.is_public else upload.attachments
            await quota.add(transaction, (*counted, *assignments.files))
        queued = is_new
        receipt = await read_receipt(transaction, caller.org_id, receipt_id)
        return reply(write_receipt(receipt), 202, {"Location": f"/v1/receipts/{receipt_id}"})

    try:
        async with resources.uploads.slot(caller.credential_id):
            upload = await _receive(request, writer, run, query.path_prefix, assignments)
        return await mutate(request, accept, fingerprint=identify(run_id, upload, assignments.documents))
    finally:
        if not queued:
            await writer.delete()


def _run_id(request: web.Request) -> str:
    try:
        run_id: str = _RUN_ID.validate_python(request.match_info["run_id"])
    except ValidationError:
        run_id = ""
    if run_id in ("", ".", "..") or replace_unstorable(run_id) != run_id:
        raise InvalidRequest("run_id: must be 1 to 200 printable characters other than '.' and '..'", "run_id")
    return run_id


async def _receive(
    request: web.Request, writer: UploadWriter, run: dict[str, Any], path_prefix: str, assignments: UploadedAssignments
) -> Upload:
    encoding = content_encoding(request)
    if request.content_type != MULTIPART:
        part = UploadPart("report", normalize_upload_type(request.content_type), body_chunks(request), path_prefix)
        return Upload((_not_empty(await writer.store(part)),), run, encoding)
    if encoding:
        raise UnsupportedMediaType(
            "Content-Encoding is not supported for a form. Compress the files of the form instead."
        )
    reports, attachments, owners = await _receive_form(request, writer, path_prefix, assignments)
    return Upload(tuple(map(_not_empty, reports)), run, None, tuple(attachments), owners=owners)


def _not_empty(report: StoredPart) -> StoredPart:
    if report.size == 0:
        raise InvalidRequest(f"report: {report.name!r} must not be empty", "report")
    return report


async def _receive_form(
    request: web.Request, writer: UploadWriter, path_prefix: str, assignments: UploadedAssignments
) -> tuple[list[StoredPart], list[StoredPart], StoredPart | None]:
    """Store the files of a form, and read its assignments. Return the reports, the attachments, and the owners.

    A file of the field `report` is a report. A file of another field is a report if it has the content of a report,
    because a report that became an attachment would hide its failures; a file of the field `attachment` is always an
    attachment. An archive is one of reports only in the field `report`, because traces of Playwright are archives too.
    If the form has no report, the first file is one.
    """
    reports: list[StoredPart] = []
    attachments: list[StoredPart] = []
    owners: StoredPart | None = None
    async for field, part in read_form_parts(request, path_prefix):
        if field == _SPLIT:
            await assignments.read(part)
            continue
        if field == _OWNERS:
            if owners:
                raise InvalidRequest("owners: must occur at most once", _OWNERS)
            _, stated = await read_document(part, _OWNERS, OwnersIn, MAX_OWNERS_BYTES)
            owners = await writer.store_document("owners.json", stated.model_dump())
            continue
        head, part = await peek(part, HEAD_BYTES) if field not in FORM_FILES else (b"", part)
        if field == _REPORT or (head and is_report(part.content_type, head)):
            reports.append(await writer.store(part._replace(content_type=normalize_upload_type(part.content_type))))
        else:
            attachments.append(await writer.store(part))
    if not reports and not attachments:
        raise InvalidRequest("form: must contain a report", _REPORT)
    return (reports, attachments, owners) if reports else (attachments[:1], attachments[1:], owners)


ROUTES: Final = (
    Route("POST", "/runs/{run_id}/report", upload_report, "reports:create", Operation(
        "upload_report", "Upload a report of a run", {202: Receipt}, ReportQuery,
        media_types=(*upload_media_types(), BINARY), form_files=FORM_FILES,
        errors=("too_large", "unsupported_media_type"), has_location=True,
        description="The service processes the report asynchronously. The receipt shows the outcome. All reports of a"
        " form are one upload with one receipt. A file is a report if it is in the field `report`, or if it is in"
        " another field than `attachment` and has the content of a report. With the media type"
        " `application/octet-stream`, the content determines the format. A ZIP or TAR archive, also one that gzip or"
        " Zstandard compressed, contains reports if it is the body or in the field `report`. Formats: "
        f"{supported_formats()}.",
    ), or_permission="reports:create_untrusted"),
)  # fmt: skip
