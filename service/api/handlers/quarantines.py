"""HTTP handlers of quarantines."""

from contextlib import AbstractAsyncContextManager

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import add_etag, reply_json, reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.quarantines import QuarantineIn, QuarantinePatch, QuarantineQuery
from service.store.postgres.database import Connection, as_organization
from service.store.quarantines import QuarantineRef
from service.usecases.lists.list_quarantines import list_quarantines as read_list
from service.usecases.quarantines import manage_quarantines as usecase
from service.usecases.quarantines.manage_quarantines import find_quarantine


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine."""
    body, caller = await parse_body(request, QuarantineIn), get_caller(request)
    requested = usecase.read_request(caller, body)

    async def create(connection: Connection) -> web.Response:
        ref = await usecase.create_quarantine(connection, caller.org_id, requested, caller.key_id)
        location = {"Location": f"/v1/quarantines/{ref.quarantine_id}"}
        return reply_json(await find_quarantine(connection, ref), 201, location)

    return await mutate(request, create)


async def list_quarantines(request: web.Request) -> web.Response:
    """List quarantines, newest first, with an ETag."""
    query, caller = parse_query(request, QuarantineQuery), get_caller(request)
    page = await read_list(request.app[RESOURCES].pool, caller, query)
    return add_etag(reply_page(page))


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
    return usecase.quarantine_ref(get_caller(request), request.match_info["id"])
