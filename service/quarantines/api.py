"""HTTP handlers of quarantines."""

from aiohttp import web

from service.http.authentication import get_caller
from service.http.mutations import mutate
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.mutations.operations import Transaction
from service.quarantines import operations
from service.quarantines.contract import QuarantineIn, QuarantinePatch, QuarantineQuery
from service.quarantines.operations import find_quarantine
from service.quarantines.operations import list_quarantines as read_list


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine."""
    body, caller = await parse_body(request, QuarantineIn), get_caller(request)
    requested = operations.read_request(caller, body)

    async def create(transaction: Transaction) -> web.Response:
        quarantine = await operations.create_quarantine(transaction, caller, requested)
        return reply(quarantine, 201, {"Location": f"/v1/quarantines/{quarantine['id']}"})

    return await mutate(request, create)


async def list_quarantines(request: web.Request) -> web.Response:
    """List quarantines, newest first, with an ETag."""
    query, caller = parse_query(request, QuarantineQuery), get_caller(request)
    page = await read_list(request.app[RESOURCES].pool, caller, query)
    return add_etag(reply_page(page))


async def get_quarantine(request: web.Request) -> web.Response:
    """Return one quarantine."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return add_etag(reply(await find_quarantine(pool, caller, request.match_info["id"])))


async def update_quarantine(request: web.Request) -> web.Response:
    """Change some fields of an active quarantine. Absent fields keep their values."""
    body, caller = await parse_body(request, QuarantinePatch), get_caller(request)
    ref = operations.quarantine_ref(caller, request.match_info["id"])

    async def change(transaction: Transaction) -> web.Response:
        return reply(await operations.change_quarantine(transaction, ref, body.changes()))

    return await mutate(request, change)


async def delete_quarantine(request: web.Request) -> web.Response:
    """End a quarantine. The ended quarantine stays readable."""
    ref = operations.quarantine_ref(get_caller(request), request.match_info["id"])

    async def end(transaction: Transaction) -> web.Response:
        await operations.end_quarantine(transaction, ref)
        return web.Response(status=204)

    return await mutate(request, end)
