"""HTTP handlers of members. A caller who is bound to a project manages only members of that project."""

from aiohttp import web

from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.identity.members import operations
from service.identity.members.contract import MemberIn, MemberPatch
from service.mutations.operations import Transaction


async def list_members(request: web.Request) -> web.Response:
    """List members, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await operations.list_members(request.app[RESOURCES].pool, caller, query))


async def get_member(request: web.Request) -> web.Response:
    """Return one member."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await operations.find_member(pool, caller, request.match_info["id"]))


async def create_member(request: web.Request) -> web.Response:
    """Add a member."""
    body, caller = await parse_body(request, MemberIn), get_caller(request)
    member = operations.read_request(caller, body.to_domain())

    async def create(transaction: Transaction) -> web.Response:
        added = await operations.create_member(transaction, caller, member)
        return reply(added, 201, {"Location": f"/v1/members/{added['id']}"})

    return await mutate(request, create)


async def update_member(request: web.Request) -> web.Response:
    """Change the role or the project of a member."""
    body, caller = await parse_body(request, MemberPatch), get_caller(request)
    ref, changes = (
        operations.member_ref(caller, request.match_info["id"]),
        operations.read_changes(caller, body.changes()),
    )

    async def change(transaction: Transaction) -> web.Response:
        return reply(await operations.change_member(transaction, ref, changes))

    return await mutate(request, change)


async def delete_member(request: web.Request) -> web.Response:
    """Remove a member. The sessions of the member end within five seconds."""
    ref = operations.member_ref(get_caller(request), request.match_info["id"])

    async def remove(transaction: Transaction) -> web.Response:
        await operations.remove_member(transaction, ref)
        return web.Response(status=204)

    return await mutate(request, remove)
