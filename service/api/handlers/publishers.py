"""HTTP handlers of trusted publishers. A caller who is bound to a project manages only publishers of that project."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.publishers import PublisherIn, PublisherPatch, TokenExchangeQuery
from service.contracts.queries import PageQuery
from service.usecases.administration import publishers as usecase
from service.usecases.administration.mutate import Transaction
from service.usecases.lists import list_publishers as read_list


async def list_publishers(request: web.Request) -> web.Response:
    """List publishers, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await read_list.list_publishers(request.app[RESOURCES].pool, caller, query))


async def get_publisher(request: web.Request) -> web.Response:
    """Return one publisher."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await read_list.find_publisher(pool, caller, request.match_info["id"]))


async def create_publisher(request: web.Request) -> web.Response:
    """Create a publisher."""
    body, caller = await parse_body(request, PublisherIn), get_caller(request)
    new = usecase.read_request(caller, body, request.app[RESOURCES].settings.issuer_addresses)

    async def create(transaction: Transaction) -> web.Response:
        created = await usecase.create_publisher(transaction, caller, new)
        return reply(created, 201, {"Location": f"/v1/publishers/{created['id']}"})

    return await mutate(request, create)


async def update_publisher(request: web.Request) -> web.Response:
    """Change some fields of a publisher. Absent fields keep their values."""
    body, caller = await parse_body(request, PublisherPatch), get_caller(request)
    ref = usecase.publisher_ref(caller, request.match_info["id"])

    async def change(transaction: Transaction) -> web.Response:
        return reply(await usecase.change_publisher(transaction, ref, body.changes()))

    return await mutate(request, change)


async def delete_publisher(request: web.Request) -> web.Response:
    """Delete a publisher, and revoke its keys."""
    ref = usecase.publisher_ref(get_caller(request), request.match_info["id"])

    async def delete(transaction: Transaction) -> web.Response:
        await usecase.delete_publisher(transaction, ref)
        return web.Response(status=204)

    return await mutate(request, delete)


async def list_token_exchanges(request: web.Request) -> web.Response:
    """List the newest exchanges of ID tokens, newest first."""
    query, caller = parse_query(request, TokenExchangeQuery), get_caller(request)
    exchanges = await read_list.list_exchanges(request.app[RESOURCES].pool, caller, query.publisher_id)
    return reply({"data": exchanges})
