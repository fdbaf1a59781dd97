"""One failure group: its message, its results, and the form that sets its ticket."""

from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import BeforeValidator

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.api.resources import RESOURCES
from service.console.changes import apply_change
from service.console.form_states import FormState, state_of, submit
from service.console.forms import get_form
from service.console.pages import page_url, render
from service.contracts.quarantines import TicketUrl
from service.contracts.queries import Cursor, Query, ResultQuery
from service.domain.filters import restrict_to_project
from service.store.postgres.database import Connection, as_organization
from service.usecases.lists.list_failures import find_failure, set_ticket
from service.usecases.lists.list_results import list_results
from service.usecases.lists.pages import ListPage

_ROWS: Final = 20
_CURSOR: Final = "starting_after"
_TICKET: Final = "ticket_url"
_NO_RESULTS: Final = ListPage("[]", None)


class FailurePageQuery(Query):
    """The position in the list of results."""

    starting_after: Cursor | None = None


def _none_if_blank(text: str) -> str | None:
    return text.strip() or None


class TicketForm(Query):
    """The ticket; blank removes it. `health` returns to the health page, with the branch that it showed."""

    ticket_url: Annotated[TicketUrl | None, BeforeValidator(_none_if_blank)]
    health: bool = False
    branch: str = ""


async def show_failure(request: web.Request) -> web.Response:
    """Show a failure group and its newest results."""
    cursor = parse_pairs(request.query, FailurePageQuery, "query parameter").starting_after
    group = await _find(request)
    return await _page(request, group, FormState({_TICKET: group[_TICKET] or ""}), cursor)


async def set_failure_ticket(request: web.Request) -> web.Response:
    """Set or remove the ticket, and return to the page with the form. An error is shown in the form."""
    form = get_form(request)

    async def change() -> web.Response:
        return await _set(request, parse_pairs(form, TicketForm, "field"))

    outcome = await submit(request, change)
    if isinstance(outcome, web.Response):
        return outcome
    return await _page(request, await _find(request), state_of(form, {_TICKET: ""}, outcome), None)


async def _set(request: web.Request, form: TicketForm) -> web.Response:
    caller, failure_id = get_caller(request), request.match_info["id"]

    async def change(connection: Connection) -> str:
        project_id = await set_ticket(connection, caller, failure_id, form.ticket_url)
        if form.health:
            return page_url(request.app, "health", {"project_id": project_id, "branch": form.branch}) + "#failures"
        return page_url(request.app, "failure", id=failure_id)

    return await apply_change(request, caller, change)


async def _find(request: web.Request) -> dict[str, Any]:
    """Return the group. Raises NotFound."""
    caller = get_caller(request)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        group: dict[str, Any] = orjson.loads(await find_failure(connection, caller, request.match_info["id"]))
    return group


async def _page(request: web.Request, group: dict[str, Any], form: FormState, cursor: str | None) -> web.Response:
    page = await _list_results(request, group["id"], cursor)
    path = page_url(request.app, "failure", id=group["id"])
    more = page_url(request.app, "failure", {_CURSOR: page.next_cursor}, id=group["id"])
    context = {
        "group": group,
        "results": orjson.loads(page.data),
        "form": form,
        "next_url": more if page.next_cursor else None,
        "newest_url": path if cursor else None,
    }
    return render(request, "failure.html", context, form.status)


async def _list_results(request: web.Request, failure_id: str, cursor: str | None) -> ListPage:
    caller = get_caller(request)
    query = ResultQuery.model_validate({"fingerprint": failure_id, "limit": _ROWS, _CURSOR: cursor})
    filter_ = restrict_to_project(query.to_filter(), caller.project_id)
    if filter_ is None:
        return _NO_RESULTS
    return await list_results(request.app[RESOURCES].list_pool, caller.org_id, filter_, query)
