"""Quarantines: the list, one of them, and the forms that create, change, and end them."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.resources import RESOURCES
from service.console import quarantine_forms
from service.console.changes import apply_change
from service.console.filters import read_single_filters
from service.console.form_states import FormState, state_of, submit
from service.console.forms import get_form
from service.console.health import find_projects
from service.console.page_links import CURSOR, page_links
from service.console.pages import page_url, render
from service.contracts.quarantines import QuarantineQuery
from service.contracts.responses import Quarantine
from service.domain.quarantines import CaseTexts
from service.usecases.administration.mutate import Transaction
from service.usecases.lists.list_quarantines import find_cases_of_quarantines, find_quarantine, list_quarantines
from service.usecases.quarantines import manage_quarantines

_ROWS: Final = "50"
_FILTERS: Final = ("project_id", "active", "case")


class QuarantineSection(NamedTuple):
    """The active quarantines, or those that ended or expired. `next_url` is the page with the next ones, if any."""

    active: bool
    quarantines: Sequence[Quarantine]
    next_url: str | None


async def show_quarantines(request: web.Request) -> web.Response:
    """Show the active quarantines first, then the others, with the filters of the API."""
    query, form = read_single_filters(request, QuarantineQuery, _FILTERS, limit=_ROWS)
    sections = [await _section(request, query, active) for active in _states(query)] if query else []
    listed = [quarantine for section in sections for quarantine in section.quarantines]
    context = {
        "sections": sections,
        "filters": form,
        "projects": await find_projects(request.app[RESOURCES], get_caller(request)),
        "cases": await _find_cases(request, listed),
        "newest_url": page_links(request.rel_url, None).newest_url,
    }
    return render(request, "quarantines.html", context, 400 if form.error else 200)


async def show_form(request: web.Request) -> web.Response:
    """Show the form that creates a quarantine. The query can contain the matcher."""
    return await _new(request, FormState(quarantine_forms.new_matcher_values(request.query)))


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine, and show it. An error is shown in the form."""
    form = get_form(request)

    def target(quarantine: Quarantine) -> str:
        return _path(request, quarantine["id"])

    outcome = await submit(request, partial(quarantine_forms.create_quarantine, request, form, target))
    if isinstance(outcome, web.Response):
        return outcome
    return await _new(request, state_of(form, quarantine_forms.new_matcher_values({}), outcome))


async def show_quarantine(request: web.Request) -> web.Response:
    """Show a quarantine, with the form that changes it."""
    quarantine = await _find(request)
    return await _page(request, quarantine, FormState(quarantine_forms.stored_values(quarantine)))


async def change_quarantine(request: web.Request) -> web.Response:
    """Change a quarantine, and show it again. An error is shown in the form."""
    form, stored = get_form(request), await _find(request)
    target = _path(request, stored["id"])
    outcome = await submit(request, partial(quarantine_forms.change_quarantine, request, form, stored, target))
    if isinstance(outcome, web.Response):
        return outcome
    return await _page(request, stored, state_of(form, quarantine_forms.stored_values(stored), outcome))


async def end_quarantine(request: web.Request) -> web.Response:
    """End a quarantine, and show it."""
    ref = manage_quarantines.quarantine_ref(get_caller(request), request.match_info["id"])

    async def end(transaction: Transaction) -> str:
        await manage_quarantines.end_quarantine(transaction, ref)
        return _path(request, ref.quarantine_id)

    return await apply_change(request, get_caller(request), end)


def _states(query: QuarantineQuery) -> tuple[bool, ...]:
    """Return the sections of the page. A filter selects one of them."""
    return (True, False) if query.active is None else (query.active,)


async def _section(request: web.Request, query: QuarantineQuery, active: bool) -> QuarantineSection:
    """Return a section. The next page of a section shows only that section."""
    one = query.model_copy(update={"active": active})
    page = await list_quarantines(request.app[RESOURCES].list_pool, get_caller(request), one)
    more = request.rel_url.update_query({"active": str(active).lower(), CURSOR: page.next_cursor or ""})
    return QuarantineSection(active, page.items, str(more) if page.next_cursor else None)


async def _page(request: web.Request, quarantine: Quarantine, form: FormState) -> web.Response:
    context = {"quarantine": quarantine, "cases": await _find_cases(request, [quarantine]), "form": form}
    return render(request, "quarantine.html", context, form.status)


async def _new(request: web.Request, form: FormState) -> web.Response:
    projects = await find_projects(request.app[RESOURCES], get_caller(request))
    return render(request, "quarantine_new.html", {"form": form, "projects": projects}, form.status)


async def _find(request: web.Request) -> Quarantine:
    """Return the quarantine of the path. Raises NotFound."""
    return await find_quarantine(request.app[RESOURCES].pool, get_caller(request), request.match_info["id"])


async def _find_cases(request: web.Request, quarantines: Iterable[Quarantine]) -> Mapping[str, CaseTexts]:
    """Return the texts of the cases of quarantines by the ID of the case."""
    return await find_cases_of_quarantines(request.app[RESOURCES].list_pool, get_caller(request).org_id, quarantines)


def _path(request: web.Request, quarantine_id: str) -> str:
    return page_url(request.app, "quarantine", id=quarantine_id)
