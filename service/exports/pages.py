"""Exports: the list with the form that requests one, and the download, repetition, and deletion of one."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web
from multidict import MultiDict, MultiMapping
from pydantic import ValidationError

from service.console.filters import read_page_query
from service.console.forms import FormState, apply_and_show, get_form, parse_form, submit, without_blanks
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_links, page_url, render
from service.contracts.queries import ExportFilters, PageQuery
from service.domain.errors import Conflict
from service.exports import operations
from service.exports.columns import EXPORT_CONTENTS, columns_of
from service.exports.contract import Export, ExportRequest
from service.exports.model import COMPRESSIONS, EXPORT_FORMATS
from service.exports.operations import find_export, find_export_file, list_exports
from service.http.authentication import get_caller
from service.http.downloads import Download, send_file
from service.http.process import RESOURCES
from service.stats.pages import find_projects

_ROWS: Final = "20"
_UNFINISHED: Final = ("queued", "running")
_OPTIONS: Final = ("format", "content", "compression")
_STATUS: Final = "status"
_FIELDS: Final = (*_OPTIONS, "run_id", "project_id", "branch", "environment", "from", "to")
_FORMAT_TEXTS: Final[Mapping[str, str]] = {"csv": "CSV", "json": "JSON", "ndjson": "NDJSON", "parquet": "Parquet"}
_FIELD_NAMES: Final = frozenset({*_FIELDS, _STATUS})


async def show_exports(request: web.Request) -> web.Response:
    """Show the exports, newest first, and the form. The query can contain the values of the form."""
    return await _show(request, _shown_values(request.query), request.query)


async def create_export(request: web.Request) -> web.Response:
    """Request an export, and show the list. An error is shown in the form."""
    form = get_form(request)
    outcome = await submit(request, _create(request, form))
    if isinstance(outcome, web.Response):
        return outcome
    state = _shown_values(form)
    return await _show(request, state._replace(fields=state.fields._replace(error=outcome)), MultiDict())


async def repeat_export(request: web.Request) -> web.Response:
    """Request an export with the same format and filters as an earlier one, and show the list."""
    resources, export_id = request.app[RESOURCES], request.match_info["id"]
    export = await find_export(resources.pool, get_caller(request), export_id, resources.settings.link_base)
    return await _request_export(request, _repeated_request(export))


async def delete_export(request: web.Request) -> web.Response:
    """Cancel an export, or delete a finished export and its file, and show the list."""
    caller = get_caller(request)
    ref = operations.export_ref(caller, request.match_info["id"])
    return await apply_and_show(
        request, page_url(request.app, "exports"), operations.delete_export, ref, caller.project_id
    )


async def download_export(request: web.Request) -> web.StreamResponse:
    """Send the file of an export without a redirect, because a page can't link to the storage."""
    resources = request.app[RESOURCES]
    file = Download(*await find_export_file(resources.pool, get_caller(request), request.match_info["id"]))
    return await send_file(request, resources.storage, file)


class ExportFormState(NamedTuple):
    """The values of the form, and the error of the request that sent it, if any."""

    fields: FormState
    statuses: list[str]


def _shown_values(given: MultiMapping[str]) -> ExportFormState:
    """Return the values of a form or query, without validation."""
    values = {name: given.get(name, "") for name in _FIELDS}
    return ExportFormState(FormState(values), given.getall(_STATUS, []))


async def _show(request: web.Request, form: ExportFormState, query: MultiMapping[str]) -> web.Response:
    """Show the list and the form. Raises InvalidRequest for a parameter of the query that isn't a field of the form."""
    of_list = MultiDict((name, value) for name, value in query.items() if name not in _FIELD_NAMES)
    page_query, resources = read_page_query(of_list, PageQuery, _ROWS), request.app[RESOURCES]
    listed = await list_exports(resources.pool, get_caller(request), page_query, resources.settings.link_base)
    context = {
        "exports": listed.items,
        "projects": await find_projects(resources, get_caller(request)),
        "is_waiting": any(export["status"] in _UNFINISHED for export in listed.items),
        "column_counts": {content: len(columns_of(content)) for content in EXPORT_CONTENTS},
        "formats": [(name, _FORMAT_TEXTS.get(name, name)) for name in EXPORT_FORMATS],
        "compressions": [(name, name.capitalize() if name == "none" else name) for name in COMPRESSIONS],
        "form": form.fields,
        "statuses": form.statuses,
        **page_links(request, listed.next_cursor),
    }
    return render(request, "exports.html", context, form.fields.status)


async def _create(request: web.Request, form: MultiDict[str]) -> web.Response:
    """Request the export of a form. A blank field is the same as none. Raises InvalidRequest."""
    given = without_blanks(form)
    options = MultiDict((name, value) for name, value in given.items() if name in _OPTIONS)
    filters = MultiDict((name, value) for name, value in given.items() if name not in _OPTIONS)
    filter_ = parse_form(filters, ExportFilters)
    return await _request_export(request, parse_form(options, ExportRequest).model_copy(update={"filter": filter_}))


async def _request_export(request: web.Request, export_request: ExportRequest) -> web.Response:
    caller = get_caller(request)
    return await apply_and_show(
        request, page_url(request.app, "exports"), operations.request_export, caller, export_request
    )


def _repeated_request(export: Export) -> ExportRequest:
    """Return the request of an export. Raises Conflict if this version doesn't support it."""
    try:
        return ExportRequest.model_validate(
            {name: value for name, value in export.items() if name in ExportRequest.model_fields}
        )
    except ValidationError:
        raise Conflict("this version doesn't support the request of the export; request a new export") from None


ROUTES: Final = (
    ConsoleRoute(
        "exports",
        "/console/exports",
        page("results:export", show_exports),
        page("results:export", create_export),
    ),
    ConsoleRoute("export_file", "/console/exports/{id}/file", page("results:export", download_export)),
    ConsoleRoute("repeat_export", "/console/exports/{id}/repeat", post=page("results:export", repeat_export)),
    ConsoleRoute("delete_export", "/console/exports/{id}/delete", post=page("results:export", delete_export)),
)
