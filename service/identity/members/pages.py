"""Members: the list with the form that adds one, and one of them with the forms that change and remove it."""

from collections.abc import Mapping
from typing import Any, Final, get_args

from aiohttp import web
from multidict import MultiDict, MultiMapping

from service.console.filters import read_page_query
from service.console.forms import FormState, apply_and_show, get_form, parse_form, state_of, submit, without_blanks
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_links, page_url, render
from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.process import RESOURCES
from service.identity.members import operations
from service.identity.members.contract import Member, MemberIn, MemberPatch
from service.identity.members.model import MemberRole

_ROWS: Final = "50"
_ROLES: Final = [(role, role) for role in get_args(MemberRole)]  # pairs of value and text
_NEW: Final[Mapping[str, str]] = {"email": "", "group": "", "role": "viewer", "project_id": ""}


async def show_members(request: web.Request) -> web.Response:
    """Show the members, newest first, and the form that adds one."""
    return await _show_list(request, FormState(_NEW), request.query)


async def create_member(request: web.Request) -> web.Response:
    """Add a member, and show the list. An error is shown in the form."""
    form = get_form(request)
    outcome = await submit(request, _create(request, form))
    if isinstance(outcome, web.Response):
        return outcome
    return await _show_list(request, state_of(form, _NEW, outcome), MultiDict())


async def show_member(request: web.Request) -> web.Response:
    """Show a member, with the form that changes it."""
    member = await _find(request)
    return _show(request, member, FormState(_stored_values(member)))


async def change_member(request: web.Request) -> web.Response:
    """Change a member, and show it again. An error is shown in the form."""
    form, stored = get_form(request), await _find(request)
    outcome = await submit(request, _change(request, form, stored))
    if isinstance(outcome, web.Response):
        return outcome
    return _show(request, stored, state_of(form, _stored_values(stored), outcome))


async def remove_member(request: web.Request) -> web.Response:
    """Remove a member, and show the list."""
    ref = operations.member_ref(get_caller(request), request.match_info["id"])
    return await apply_and_show(request, page_url(request.app, "members"), operations.remove_member, ref)


async def _create(request: web.Request, form: MultiDict[str]) -> web.Response:
    caller = get_caller(request)
    member = operations.read_request(caller, parse_form(without_blanks(form), MemberIn).to_domain())
    return await apply_and_show(request, page_url(request.app, "members"), operations.create_member, caller, member)


async def _change(request: web.Request, form: MultiDict[str], stored: Member) -> web.Response:
    """Change a member. A blank project means all projects."""
    caller = get_caller(request)
    ref = operations.member_ref(caller, stored["id"])
    given: dict[str, Any] = {"project_id": None, **parse_form(without_blanks(form), MemberPatch).changes()}
    changes = operations.read_changes(caller, given)
    return await apply_and_show(
        request, page_url(request.app, "member", id=stored["id"]), operations.change_member, ref, changes
    )


async def _show_list(request: web.Request, form: FormState, query: MultiMapping[str]) -> web.Response:
    resources, page_query = request.app[RESOURCES], read_page_query(query, PageQuery, _ROWS)
    listed = await operations.list_members(resources.pool, get_caller(request), page_query)
    context = {
        "members": listed.items,
        "roles": _ROLES,
        "form": form,
        "can_sign_in": resources.settings.oidc_client is not None,
        **page_links(request, listed.next_cursor),
    }
    return render(request, "members.html", context, form.status)


def _show(request: web.Request, member: Member, form: FormState) -> web.Response:
    context = {"member": member, "roles": _ROLES, "form": form}
    return render(request, "member.html", context, form.status)


async def _find(request: web.Request) -> Member:
    """Return the member of the path. Raises NotFound."""
    return await operations.find_member(request.app[RESOURCES].pool, get_caller(request), request.match_info["id"])


def _stored_values(member: Member) -> dict[str, str]:
    """Return the values of the form that changes a member."""
    return {"role": member["role"], "project_id": member["project_id"] or ""}


ROUTES: Final = (
    ConsoleRoute("members", "/console/members", page("keys:manage", show_members), page("keys:manage", create_member)),
    ConsoleRoute(
        "member", "/console/members/{id}", page("keys:manage", show_member), page("keys:manage", change_member)
    ),
    ConsoleRoute("remove_member", "/console/members/{id}/remove", post=page("keys:manage", remove_member)),
)
