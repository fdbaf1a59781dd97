"""HTTP handlers of members. A caller who is bound to a project manages only members of that project."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.members import MemberIn, MemberPatch
from service.contracts.queries import PageQuery
from service.usecases.administration import members as usecase
from service.usecases.administration.mutate import Transaction
from service.usecases.lists import list_members as read_list


async def list_members(request: web.Request) -> web.Response:
    """List members, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await read_list.list_members(request.app[RESOURCES].pool, caller, query))


async def get_member(request: web.Request) -> web.Response:
    """Return one member."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await read_list.find_member(pool, caller, request.match_info["id"]))


async def create_member(request: web.Request) -> web.Response:
    """Add a member."""
    body, caller = await parse_body(request, MemberIn), get_caller(request)
    member = usecase.read_request(caller, body.to_domain())

    async def create(transaction: Transaction) -> web.Response:
        added = await usecase.create_member(transaction, caller, member)
        return reply(added, 201, {"Location": f"/v1/members/{added['id']}"})

    return await mutate(request, create)


async def update_member(request: web.Request) -> web.Response:
    """Change the role or the project of a member."""
    body, caller = await parse_body(request, MemberPatch), get_caller(request)
    ref, changes = usecase.member_ref(caller, request.match_info["id"]), usecase.read_changes(caller, body.changes())

    async def change(transaction: Transaction) -> web.Response:
        return reply(await usecase.change_member(transaction, ref, changes))

    return await mutate(request, change)


async def delete_member(request: web.Request) -> web.Response:
    """Remove a member. The sessions of the member end within five seconds."""
    ref = usecase.member_ref(get_caller(request), request.match_info["id"])

    async def remove(transaction: Transaction) -> web.Response:
        await usecase.remove_member(transaction, ref)
        return web.Response(status=204)

    return await mutate(request, remove)
