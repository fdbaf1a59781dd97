"""Reports over HTTP: one call for any test tool, answered with a receipt."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from service.api.handlers.receipts import receipt_object
from service.api.http.authentication import caller
from service.api.http.bodies import body_chunks
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_query
from service.api.http.responses import reply
from service.api.http.uploads import (
    MULTIPART,
    check_content_length,
    content_encoding,
    read_form_parts,
    report_media_type,
)
from service.api.server.resources import RESOURCES
from service.contracts.reports import ReportQuery
from service.contracts.run_events import Identifier
from service.domain.errors import Forbidden, InvalidRequest, NotFound, UnsupportedMediaType
from service.domain.keys import Caller
from service.domain.reports import StoredPart, Upload
from service.domain.texts import replace_unstorable
from service.store.postgres.database import Connection
from service.store.queries import receipts as read_receipts
from service.usecases.ingest.parse_events import AcceptanceWindow
from service.usecases.reports.accept_report import UploadPart, UploadWriter, accept_report, identify

_RUN_ID = TypeAdapter(Identifier)


async def create_report(request: web.Request) -> web.Response:
    """Takes a report of a run; what becomes of it is in its receipt. An empty one is refused at once."""
    who, resources = caller(request), request.app[RESOURCES]
    run_id, query = _run_id(request), _query(request, who)
    check_content_length(request, resources.settings.report_max_bytes)
    inbox = UploadWriter(resources.storage, who.org_id, resources.settings.report_max_bytes)
    kept = False

    async def accept(connection: Connection) -> web.Response:
        nonlocal kept
        accepted = await accept_report(connection, who.org_id, inbox.receipt_id, run_id, upload)
        kept = accepted.is_new
        return await _reply_receipt(connection, who, accepted.receipt_id)

    try:
        upload = await _receive(request, inbox, query.run_fields())
        return await mutate(request, accept, fingerprint=identify(run_id, upload))
    finally:
        if not kept:
            await inbox.clear()


async def _reply_receipt(connection: Connection, who: Caller, receipt_id: str) -> web.Response:
    receipt = await read_receipts.find_one(connection, who.org_id, receipt_id, None)
    if receipt is None:
        raise NotFound(f"there is no receipt {receipt_id!r}")
    return reply(receipt_object(receipt), status=202, headers={"Location": f"/v1/receipts/{receipt_id}"})


def _run_id(request: web.Request) -> str:
    try:
        run_id: str = _RUN_ID.validate_python(request.match_info["run_id"])
    except ValidationError:
        run_id = ""
    if run_id in ("", ".", "..") or replace_unstorable(run_id) != run_id:
        raise InvalidRequest("run_id: 1 to 200 printable characters, and no dot path", "run_id")
    return run_id


def _query(request: web.Request, who: Caller) -> ReportQuery:
    query = parse_query(request, ReportQuery)
    if who.project_id not in (None, query.project_id):
        raise Forbidden(f"this key is bound to the project {who.project_id!r}")
    accept = AcceptanceWindow(datetime.now(UTC), request.app[RESOURCES].settings.retention)
    if query.completed_at and accept.excludes(query.completed_at):
        raise InvalidRequest("completed_at: beyond the retention, or more than 24 h ahead", "completed_at")
    return query


async def _receive(request: web.Request, inbox: UploadWriter, run: dict[str, Any]) -> Upload:
    encoding = content_encoding(request)
    if request.content_type != MULTIPART:
        part = UploadPart("report", report_media_type(request.content_type), body_chunks(request))
        return Upload(_not_empty(await inbox.keep(part)), run, encoding)
    if encoding:
        raise UnsupportedMediaType("a form is taken without a Content-Encoding; its files may be compressed")
    report, attachments = await _receive_form(request, inbox)
    return Upload(_not_empty(report), run, None, tuple(attachments))


def _not_empty(report: StoredPart) -> StoredPart:
    if report.size == 0:
        raise InvalidRequest("report: must not be empty", "report")
    return report


async def _receive_form(request: web.Request, inbox: UploadWriter) -> tuple[StoredPart, list[StoredPart]]:
    """The report is the file of the field `report`, or the first of all; the others are attachments of its results."""
    report: StoredPart | None = None
    others: list[StoredPart] = []
    async for field, part in read_form_parts(request):
        if field == "report":
            if report is not None:
                raise InvalidRequest("report: given twice", "report")
            report = await inbox.keep(part._replace(content_type=report_media_type(part.content_type or "")))
        else:
            others.append(await inbox.keep(part))
    if report is None and not others:
        raise InvalidRequest("a form without a file", "report")
    return (report, others) if report else (others[0], others[1:])
