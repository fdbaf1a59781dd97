"""Quarantines: the list, one of them, and the forms that create, change, and end them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.resources import RESOURCES
from service.console import quarantine_forms
from service.console.changes import apply_change
from service.console.filters import read_single_filters
from service.console.form_states import FormState, state_of, submit
from service.console.forms import get_form
from service.console.pages import page_url, render
from service.contracts.quarantines import QuarantineQuery
from service.store.postgres.database import Connection, as_organization
from service.store.quarantines import QuarantineRef
from service.usecases.lists.list_quarantines import find_cases_of_quarantines, list_quarantines
from service.usecases.quarantines import manage_quarantines

_ROWS: Final = "50"
_FILTERS: Final = ("project_id", "active", "case")
_CURSOR: Final = "starting_after"


class QuarantineSection(NamedTuple):
    """The active quarantines, or those that ended or expired. `next_url` is the page with the next ones, if any."""

    active: bool
    quarantines: Sequence[Mapping[str, Any]]
    next_url: str | None


async def show_quarantines(request: web.Request) -> web.Response:
    """Show the active quarantines first, then the others, with the filters of the API."""
    query, form = read_single_filters(request, QuarantineQuery, _FILTERS, limit=_ROWS)
    sections = [await _section(request, query, active) for active in _states(query)] if query else []
    listed = [quarantine for section in sections for quarantine in section.quarantines]
    url = request.rel_url
    context = {
        "sections": sections,
        "filters": form,
        "cases": await _find_cases(request, listed),
        "newest_url": str(url.without_query_params(_CURSOR)) if _CURSOR in url.query else None,
    }
    return render(request, "quarantines.html", context, 400 if form.error else 200)


async def show_form(request: web.Request) -> web.Response:
    """Show the form that creates a quarantine. The query can contain the matcher."""
    return _new(request, FormState(quarantine_forms.new_matcher_values(request.query)))


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine, and show it. An error is shown in the form."""
    form = get_form(request)

    def target(ref: QuarantineRef) -> str:
        return _path(request, ref.quarantine_id)

    outcome = await submit(request, partial(quarantine_forms.create_quarantine, request, form, target))
    if isinstance(outcome, web.Response):
        return outcome
    return _new(request, state_of(form, quarantine_forms.new_matcher_values({}), outcome))


async def show_quarantine(request: web.Request) -> web.Response:
    """Show a quarantine, with the form that changes it."""
    quarantine = await _find(request, _ref(request))
    return await _page(request, quarantine, FormState(quarantine_forms.stored_values(quarantine)))


async def change_quarantine(request: web.Request) -> web.Response:
    """Change a quarantine, and show it again. An error is shown in the form."""
    form, ref = get_form(request), _ref(request)
    stored = await _find(request, ref)
    target = _path(request, ref.quarantine_id)
    outcome = await submit(request, partial(quarantine_forms.change_quarantine, request, form, ref, stored, target))
    if isinstance(outcome, web.Response):
        return outcome
    return await _page(request, stored, state_of(form, quarantine_forms.stored_values(stored), outcome))


async def end_quarantine(request: web.Request) -> web.Response:
    """End a quarantine, and show it."""
    ref = _ref(request)

    async def end(connection: Connection) -> str:
        await manage_quarantines.end_quarantine(connection, ref)
        return _path(request, ref.quarantine_id)

    return await apply_change(request, get_caller(request), end)


def _states(query: QuarantineQuery) -> tuple[bool, ...]:
    """Return the sections of the page. A filter selects one of them."""
    return (True, False) if query.active is None else (query.active,)


async def _section(request: web.Request, query: QuarantineQuery, active: bool) -> QuarantineSection:
    """Return a section. The next page of a section shows only that section."""
    one = query.model_copy(update={"active": active})
    page = await list_quarantines(request.app[RESOURCES].list_pool, get_caller(request), one)
    more = request.rel_url.update_query({"active": str(active).lower(), _CURSOR: page.next_cursor or ""})
    return QuarantineSection(active, orjson.loads(page.data), str(more) if page.next_cursor else None)


async def _page(request: web.Request, quarantine: Mapping[str, Any], form: FormState) -> web.Response:
    context = {"quarantine": quarantine, "cases": await _find_cases(request, [quarantine]), "form": form}
    return render(request, "quarantine.html", context, form.status)


def _new(request: web.Request, form: FormState) -> web.Response:
    return render(request, "quarantine_new.html", {"form": form}, form.status)


async def _find(request: web.Request, ref: QuarantineRef) -> dict[str, Any]:
    """Return a quarantine. Raises NotFound."""
    async with as_organization(request.app[RESOURCES].pool, ref.org_id) as connection:
        found: dict[str, Any] = orjson.loads(await manage_quarantines.find_quarantine(connection, ref))
    return found


async def _find_cases(request: web.Request, quarantines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the names of the cases of quarantines by the ID of the case."""
    return await find_cases_of_quarantines(request.app[RESOURCES].list_pool, get_caller(request).org_id, quarantines)


def _ref(request: web.Request) -> QuarantineRef:
    return manage_quarantines.quarantine_ref(get_caller(request), request.match_info["id"])


def _path(request: web.Request, quarantine_id: str) -> str:
    return page_url(request.app, "quarantine", id=quarantine_id)
