"""Members: the list with the form that adds one, and one of them with the forms that change and remove it."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, get_args

from aiohttp import web
from multidict import MultiDict

from service.console.changes import apply_change
from service.console.forms import FormState, get_form, state_of, submit, without_blanks
from service.console.rendering import page_links, page_url, render
from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.parsing import parse_pairs
from service.http.process import RESOURCES
from service.identity.members import operations
from service.identity.members.contract import Member, MemberIn, MemberPatch
from service.identity.members.model import MemberRole
from service.identity.members.operations import find_member, list_members
from service.mutations.operations import Transaction

_ROWS: Final = "50"
_NOUN: Final = "field"
_ROLES: Final = [(role, role) for role in get_args(MemberRole)]  # pairs of value and text
_NEW: Final[Mapping[str, str]] = {"email": "", "group": "", "role": "viewer", "project_id": ""}


async def show_members(request: web.Request) -> web.Response:
    """Show the members, newest first, and the form that adds one."""
    return await _list(request, FormState(_NEW), MultiDict(request.query))


async def create_member(request: web.Request) -> web.Response:
    """Add a member, and show the list. An error is shown in the form."""
    form = get_form(request)
    outcome = await submit(request, partial(_create, request, form))
    return outcome if isinstance(outcome, web.Response) else await _list(request, state_of(form, _NEW, outcome))


async def show_member(request: web.Request) -> web.Response:
    """Show a member, with the form that changes it."""
    member = await _find(request)
    return _page(request, member, FormState(_stored_values(member)))


async def change_member(request: web.Request) -> web.Response:
    """Change a member, and show it again. An error is shown in the form."""
    form, stored = get_form(request), await _find(request)
    outcome = await submit(request, partial(_change, request, form, stored))
    if isinstance(outcome, web.Response):
        return outcome
    return _page(request, stored, state_of(form, _stored_values(stored), outcome))


async def remove_member(request: web.Request) -> web.Response:
    """Remove a member, and show the list."""
    ref = operations.member_ref(get_caller(request), request.match_info["id"])

    async def remove(transaction: Transaction) -> str:
        await operations.remove_member(transaction, ref)
        return page_url(request.app, "members")

    return await apply_change(request, get_caller(request), remove)


async def _create(request: web.Request, form: MultiDict[str]) -> web.Response:
    caller = get_caller(request)
    member = operations.read_request(caller, parse_pairs(without_blanks(form), MemberIn, _NOUN).to_domain())

    async def create(transaction: Transaction) -> str:
        await operations.create_member(transaction, caller, member)
        return page_url(request.app, "members")

    return await apply_change(request, caller, create)


async def _change(request: web.Request, form: MultiDict[str], stored: Member) -> web.Response:
    """Change a member. A blank project means all projects."""
    caller = get_caller(request)
    ref = operations.member_ref(caller, stored["id"])
    given: dict[str, Any] = {"project_id": None, **parse_pairs(without_blanks(form), MemberPatch, _NOUN).changes()}
    changes = operations.read_changes(caller, given)

    async def change(transaction: Transaction) -> str:
        await operations.change_member(transaction, ref, changes)
        return page_url(request.app, "member", id=stored["id"])

    return await apply_change(request, caller, change)


async def _list(request: web.Request, form: FormState, query: MultiDict[str] | None = None) -> web.Response:
    given = query or MultiDict[str]()
    given.setdefault("limit", _ROWS)
    page_query = parse_pairs(given, PageQuery, "query parameter")
    page = await list_members(request.app[RESOURCES].pool, get_caller(request), page_query)
    links = page_links(request.rel_url, page.next_cursor)._asdict()
    can_sign_in = request.app[RESOURCES].settings.oidc_client is not None
    context = {"members": page.items, "roles": _ROLES, "form": form, "can_sign_in": can_sign_in, **links}
    return render(request, "members.html", context, form.status)


def _page(request: web.Request, member: Member, form: FormState) -> web.Response:
    context = {"member": member, "roles": _ROLES, "form": form}
    return render(request, "member.html", context, form.status)


async def _find(request: web.Request) -> Member:
    """Return the member of the path. Raises NotFound."""
    return await find_member(request.app[RESOURCES].pool, get_caller(request), request.match_info["id"])


def _stored_values(member: Member) -> dict[str, str]:
    """Return the values of the form that changes a member."""
    return {"role": member["role"], "project_id": member["project_id"] or ""}
