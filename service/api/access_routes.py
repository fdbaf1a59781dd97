"""The rows of the route table about who has access to an organization, besides API keys."""

from typing import Final

from service.api.handlers import members, publishers
from service.api.operations import Operation, Route, page_of
from service.contracts.members import Member, MemberIn, MemberPatch
from service.contracts.publishers import (
    PublisherIn,
    PublisherPatch,
    TokenExchangeQuery,
    TokenExchanges,
    TrustedPublisher,
)
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
_PUBLISHER_ROUTES: Final = (
    Route("GET", "/publishers", publishers.list_publishers, "keys:manage", Operation(
        "list_publishers", "List trusted publishers, newest first", page_of(TrustedPublisher), PageQuery,
        description="Without deleted publishers.",
    )),
    Route("GET", "/publishers/{id}", publishers.get_publisher, "keys:manage", Operation(
        "get_publisher", "Get a trusted publisher", {200: TrustedPublisher}, errors=("not_found",),
    )),
    Route("POST", "/publishers", publishers.create_publisher, "keys:manage", Operation(
        "create_publisher", "Let CI jobs exchange their ID tokens for keys", {201: TrustedPublisher}, body=PublisherIn,
        description="A job needs no stored secret: its ID token becomes a key of one project for 15 minutes.",
        errors=("conflict",),
    )),
    Route("PATCH", "/publishers/{id}", publishers.update_publisher, "keys:manage", Operation(
        "update_publisher", "Update the given fields of a trusted publisher", {200: TrustedPublisher},
        body=PublisherPatch, errors=("not_found",),
        description="Unless only the name changes, the service rejects the keys of its jobs within five seconds.",
    )),
    Route("DELETE", "/publishers/{id}", publishers.delete_publisher, "keys:manage", Operation(
        "delete_publisher", "Delete a trusted publisher", {204: None}, errors=("not_found",),
        description="The service rejects the keys of its jobs within five seconds.",
    )),
    Route("GET", "/token-exchanges", publishers.list_token_exchanges, "keys:manage", Operation(
        "list_token_exchanges", "List the newest exchanges of ID tokens", {200: TokenExchanges}, TokenExchangeQuery,
        description="The newest 100 of the organization, accepted and refused ones. Only authentic tokens of a"
        " repository that a publisher names are listed.",
    )),
)  # fmt: skip
ACCESS_ROUTES: Final = (*_MEMBER_ROUTES, *_PUBLISHER_ROUTES)
