"""HTTP handlers of quarantines."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import add_etag, compact, reply_json, reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.quarantines import QuarantineIn, QuarantinePatch, QuarantineQuery
from service.domain.cursors import Cursors, ids
from service.domain.errors import Forbidden
from service.domain.ids import is_id, parse_case_id
from service.domain.keys import Caller
from service.store import quarantines
from service.store.postgres.database import Connection, as_organization
from service.store.quarantines import QuarantineRef, QuarantineSelection
from service.usecases.quarantines import manage_quarantines as usecase
from service.usecases.quarantines.manage_quarantines import RequestedQuarantine, find_quarantine, quarantine_not_found

_QUARANTINES: Final = ids("qua")


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine."""
    body, caller = await parse_body(request, QuarantineIn), get_caller(request)
    project_id = _project(caller, body.project_id)
    requested = RequestedQuarantine(
        project_id, body.matcher(), body.reason, body.owner, body.ticket_url, body.expires_at
    )

    async def create(connection: Connection) -> web.Response:
        ref = await usecase.create_quarantine(connection, caller.org_id, requested, caller.key_id)
        location = {"Location": f"/v1/quarantines/{ref.quarantine_id}"}
        return reply_json(await find_quarantine(connection, ref), 201, location)

    return await mutate(request, create)


async def list_quarantines(request: web.Request) -> web.Response:
    """List quarantines, newest first, with an ETag."""
    query, caller = parse_query(request, QuarantineQuery), get_caller(request)
    if caller.project_id is not None and query.project_id not in (None, caller.project_id):
        return add_etag(reply_page("[]", None))
    case_key = None if query.case is None else parse_case_id(query.case)
    selection = QuarantineSelection(query.project_id or caller.project_id, case_key, query.active)
    cursors = Cursors(_QUARANTINES, "quarantines", caller.org_id, selection._asdict())
    before = cursors.read(query.starting_after)
    async with _connection(request) as connection:
        page = await quarantines.list_page(connection, caller.org_id, selection, before, query.limit)
    return add_etag(reply_page(compact(page.data), cursors.write(page.next)))


async def get_quarantine(request: web.Request) -> web.Response:
    """Return one quarantine."""
    ref = _quarantine_ref(request)
    async with _connection(request) as connection:
        return reply_with_etag(await find_quarantine(connection, ref))


async def update_quarantine(request: web.Request) -> web.Response:
    """Change some fields of an active quarantine. Absent fields keep their values."""
    body, ref = await parse_body(request, QuarantinePatch), _quarantine_ref(request)

    async def change(connection: Connection) -> web.Response:
        await usecase.change_quarantine(connection, ref, body.changes())
        return reply_json(await find_quarantine(connection, ref))

    return await mutate(request, change)


async def delete_quarantine(request: web.Request) -> web.Response:
    """End a quarantine. The ended quarantine stays readable."""
    ref = _quarantine_ref(request)

    async def end(connection: Connection) -> web.Response:
        await usecase.end_quarantine(connection, ref)
        return web.Response(status=204)

    return await mutate(request, end)


def _connection(request: web.Request) -> AbstractAsyncContextManager[Connection]:
    return as_organization(request.app[RESOURCES].pool, get_caller(request).org_id)


def _quarantine_ref(request: web.Request) -> QuarantineRef:
    """Return the identity of the quarantine in the path. Raises NotFound if the ID is malformed."""
    caller, quarantine_id = get_caller(request), request.match_info["id"]
    if not is_id("qua", quarantine_id):
        raise quarantine_not_found(quarantine_id)
    return QuarantineRef(caller.org_id, quarantine_id, caller.project_id)


def _project(caller: Caller, requested: str | None) -> str | None:
    """Return the project of a quarantine: that of the caller's key if it is bound to one. Raises Forbidden."""
    if caller.project_id is not None and requested not in (None, caller.project_id):
        raise Forbidden(f"project_id: this key is bound to the project {caller.project_id!r}")
    return caller.project_id or requested
