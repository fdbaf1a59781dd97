"""HTTP handlers of quarantines."""

from typing import Final

from aiohttp import web

from service.http.authentication import get_caller
from service.http.mutations import mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.http.routes import Operation, Route, page_of, with_etag
from service.quarantines import operations
from service.quarantines.contract import Quarantine, QuarantineIn, QuarantinePatch, QuarantineQuery


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine."""
    body, caller = await parse_body(request, QuarantineIn), get_caller(request)
    requested = operations.read_request(caller, body)
    return await mutate_object(
        request, operations.create_quarantine, caller, requested, status=201, collection="/v1/quarantines"
    )


async def list_quarantines(request: web.Request) -> web.Response:
    """List quarantines, newest first, with an ETag."""
    query, caller = parse_query(request, QuarantineQuery), get_caller(request)
    return add_etag(reply_page(await operations.list_quarantines(request.app[RESOURCES].pool, caller, query)))


async def get_quarantine(request: web.Request) -> web.Response:
    """Return one quarantine."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return add_etag(reply(await operations.find_quarantine(pool, caller, request.match_info["id"])))


async def update_quarantine(request: web.Request) -> web.Response:
    """Change some fields of an active quarantine. Absent fields keep their values."""
    body, caller = await parse_body(request, QuarantinePatch), get_caller(request)
    ref, changes = operations.quarantine_ref(caller, request.match_info["id"]), body.changes()
    return await mutate_object(request, operations.change_quarantine, ref, changes)


async def delete_quarantine(request: web.Request) -> web.Response:
    """End a quarantine. The ended quarantine stays readable."""
    ref = operations.quarantine_ref(get_caller(request), request.match_info["id"])
    return await mutate_object(request, operations.end_quarantine, ref)


ROUTES: Final = (
    Route("POST", "/quarantines", create_quarantine, "quarantines:manage", Operation(
        "create_quarantine", "Excuse failures of matching cases in gates", {201: Quarantine}, body=QuarantineIn,
        errors=("not_found",), description="The results and the runs stay failed.",
    )),
    Route("GET", "/quarantines", list_quarantines, "results:read", Operation(
        "list_quarantines", "List quarantines, newest first", {**page_of(Quarantine), 304: None}, QuarantineQuery,
    )),
    Route("GET", "/quarantines/{id}", get_quarantine, "results:read", Operation(
        "get_quarantine", "Get a quarantine", with_etag(Quarantine), errors=("not_found",),
    )),
    Route("PATCH", "/quarantines/{id}", update_quarantine, "quarantines:manage", Operation(
        "update_quarantine", "Update the given fields of an active quarantine", {200: Quarantine},
        body=QuarantinePatch, errors=("not_found",),
        description="Responds with 409 if the quarantine has ended or expired.",
    )),
    Route("DELETE", "/quarantines/{id}", delete_quarantine, "quarantines:manage", Operation(
        "delete_quarantine", "End a quarantine", {204: None}, errors=("not_found",),
        description="The quarantine stays readable, because decisions refer to it.",
    )),
)  # fmt: skip
