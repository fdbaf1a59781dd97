"""One failure group: its message, its cases, and the form that sets its ticket."""

from typing import Annotated, Final

from aiohttp import web
from pydantic import BeforeValidator

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.api.resources import RESOURCES
from service.console.changes import apply_change
from service.console.failure_details import FailurePageData, find_failure_page
from service.console.form_states import FormState, state_of, submit
from service.console.forms import get_form
from service.console.pages import page_url, render
from service.contracts.quarantines import TicketUrl
from service.contracts.queries import Query
from service.usecases.administration.mutate import Transaction
from service.usecases.lists.list_failures import set_ticket

_TICKET: Final = "ticket_url"


class FailurePageQuery(Query):
    """The page of a failure group has no parameters."""


def _none_if_blank(text: str) -> str | None:
    return text.strip() or None


class TicketForm(Query):
    """The ticket; blank removes it. `health` returns to the health page, with the branch that it showed."""

    ticket_url: Annotated[TicketUrl | None, BeforeValidator(_none_if_blank)]
    health: bool = False
    branch: str = ""


async def show_failure(request: web.Request) -> web.Response:
    """Show a failure group and its cases."""
    parse_pairs(request.query, FailurePageQuery, "query parameter")
    found = await _find(request)
    return _page(request, found, FormState({_TICKET: found.found.group.ticket_url or ""}))


async def set_failure_ticket(request: web.Request) -> web.Response:
    """Set or remove the ticket, and return to the page with the form. An error is shown in the form."""
    form = get_form(request)

    async def change() -> web.Response:
        return await _set(request, parse_pairs(form, TicketForm, "field"))

    outcome = await submit(request, change)
    if isinstance(outcome, web.Response):
        return outcome
    return _page(request, await _find(request), state_of(form, {_TICKET: ""}, outcome))


async def _set(request: web.Request, form: TicketForm) -> web.Response:
    caller, failure_id = get_caller(request), request.match_info["id"]

    async def change(transaction: Transaction) -> str:
        project_id = await set_ticket(transaction, caller, failure_id, form.ticket_url)
        if form.health:
            return page_url(request.app, "health", {"project_id": project_id, "branch": form.branch}) + "#failures"
        return page_url(request.app, "failure", id=failure_id)

    return await apply_change(request, caller, change)


async def _find(request: web.Request) -> FailurePageData:
    """Return the data of the page. Raises NotFound."""
    return await find_failure_page(request.app[RESOURCES], get_caller(request), request.match_info["id"])


def _page(request: web.Request, found: FailurePageData, form: FormState) -> web.Response:
    context = {**found._asdict(), "group": found.found.group, "form": form}
    return render(request, "failure.html", context, form.status)
