"""The rows of the route table about who has access to an organization, besides API keys."""

from typing import Final

from service.api.handlers import members
from service.api.operations import Operation, Route, page_of
from service.contracts.members import Member, MemberIn, MemberPatch
from service.contracts.queries import PageQuery

_MEMBER_ROUTES: Final = (
    Route("GET", "/members", members.list_members, "keys:manage", Operation(
        "list_members", "List members, newest first", page_of(Member), PageQuery,
        description="Without removed members.",
    )),
    Route("GET", "/members/{id}", members.get_member, "keys:manage", Operation(
        "get_member", "Get a member", {200: Member}, errors=("not_found",),
    )),
    Route("POST", "/members", members.create_member, "keys:manage", Operation(
        "create_member", "Let a person or a group sign in to the console", {201: Member}, body=MemberIn,
        description="Responds with 409 if the email or group is already a member of the project, or of all projects.",
    )),
    Route("PATCH", "/members/{id}", members.update_member, "keys:manage", Operation(
        "update_member", "Change the role or the project of a member", {200: Member}, body=MemberPatch,
        errors=("not_found",), description="The change applies to sessions within five seconds.",
    )),
    Route("DELETE", "/members/{id}", members.delete_member, "keys:manage", Operation(
        "delete_member", "Remove a member", {204: None}, errors=("not_found",),
        description="The sessions of the member end within five seconds.",
    )),
)  # fmt: skip
ACCESS_ROUTES: Final = _MEMBER_ROUTES
