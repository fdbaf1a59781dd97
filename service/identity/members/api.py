"""HTTP handlers of members. A caller who is bound to a project manages only members of that project."""

from typing import Final

from aiohttp import web

from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import Operation, Route, page_of
from service.identity.members import operations
from service.identity.members.contract import Member, MemberIn, MemberPatch


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
    return await mutate_object(request, operations.create_member, caller, member, status=201, collection="/v1/members")


async def update_member(request: web.Request) -> web.Response:
    """Change the role or the project of a member."""
    body, caller = await parse_body(request, MemberPatch), get_caller(request)
    ref = operations.member_ref(caller, request.match_info["id"])
    changes = operations.read_changes(caller, body.changes())
    return await mutate_object(request, operations.change_member, ref, changes)


async def delete_member(request: web.Request) -> web.Response:
    """Remove a member. The sessions of the member end within five seconds."""
    ref = operations.member_ref(get_caller(request), request.match_info["id"])
    return await mutate_object(request, operations.remove_member, ref)


ROUTES: Final = (
    Route("GET", "/members", list_members, "keys:manage", Operation(
        "list_members", "List members, newest first", page_of(Member), PageQuery,
        description="Without removed members.",
    )),
    Route("GET", "/members/{id}", get_member, "keys:manage", Operation(
        "get_member", "Get a member", {200: Member}, errors=("not_found",),
    )),
    Route("POST", "/members", create_member, "keys:manage", Operation(
        "create_member", "Let a person or a group sign in to the console", {201: Member}, body=MemberIn,
        description="Responds with 409 if the email or group is already a member of the project, or of all projects.",
    )),
    Route("PATCH", "/members/{id}", update_member, "keys:manage", Operation(
        "update_member", "Change the role or the project of a member", {200: Member}, body=MemberPatch,
        errors=("not_found",), description="The change applies to sessions within five seconds.",
    )),
    Route("DELETE", "/members/{id}", delete_member, "keys:manage", Operation(
        "delete_member", "Remove a member", {204: None}, errors=("not_found",),
        description="The sessions of the member end within five seconds.",
    )),
)  # fmt: skip
