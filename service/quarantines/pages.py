"""Quarantines: the list, one of them, and the forms that create, change, and end them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

from aiohttp import web
from multidict import MultiDict
from pydantic import BeforeValidator

from service.console.filters import read_single_filters
from service.console.forms import (
    FormState,
    apply_and_show,
    apply_change,
    get_form,
    parse_form,
    state_of,
    submit,
    without_blanks,
)
from service.console.pages import ConsoleRoute, page
from service.console.rendering import CURSOR, page_links, page_url, render
from service.domain.variants import parse_pairs as parse_variant
from service.http.authentication import get_caller
from service.http.process import RESOURCES
from service.ingest.contract import Variant
from service.mutations.operations import Transaction
from service.quarantines import operations
from service.quarantines.contract import Quarantine, QuarantineIn, QuarantinePatch, QuarantineQuery
from service.quarantines.model import DEFAULT_DURATION
from service.stats.pages import find_projects

_ROWS: Final = "50"
_FILTERS: Final = ("project_id", "active", "case")
_MATCHER_FIELDS: Final = ("project_id", "suite", "name", "variant", "case")
_DATE_CHARACTERS: Final = len("2026-05-20")


async def show_quarantines(request: web.Request) -> web.Response:
    """Show the active quarantines first, then the others, with the filters of the API."""
    query, form = read_single_filters(request, QuarantineQuery, _FILTERS, limit=_ROWS)
    sections = [await _section(request, query, active) for active in _states(query)] if query else []
    context = {
        "sections": sections,
        "filters": form,
        "projects": await find_projects(request.app[RESOURCES], get_caller(request)),
        **page_links(request, None),
    }
    return render(request, "quarantines.html", context, 400 if form.error else 200)


async def show_form(request: web.Request) -> web.Response:
    """Show the form that creates a quarantine. The query can contain the matcher."""
    return await _show_new(request, FormState(_new_matcher_values(request.query)))


async def create_quarantine(request: web.Request) -> web.Response:
    """Create a quarantine, and show it. An error is shown in the form."""
    form = get_form(request)
    outcome = await submit(request, quarantine_cases(request, form, lambda created: _path(request, created["id"])))
    if isinstance(outcome, web.Response):
        return outcome
    return await _show_new(request, state_of(form, _new_matcher_values({}), outcome))


async def show_quarantine(request: web.Request) -> web.Response:
    """Show a quarantine, with the form that changes it."""
    quarantine = await _find(request)
    return await _show(request, quarantine, FormState(_stored_values(quarantine)))


async def change_quarantine(request: web.Request) -> web.Response:
    """Change a quarantine, and show it again. An error is shown in the form."""
    form, stored = get_form(request), await _find(request)
    outcome = await submit(request, _change(request, form, stored))
    if isinstance(outcome, web.Response):
        return outcome
    return await _show(request, stored, state_of(form, _stored_values(stored), outcome))


async def end_quarantine(request: web.Request) -> web.Response:
    """End a quarantine, and show it."""
    ref = operations.quarantine_ref(get_caller(request), request.match_info["id"])
    return await apply_and_show(request, _path(request, ref.quarantine_id), operations.end_quarantine, ref)


class QuarantineSection(NamedTuple):
    """The active quarantines, or the ones that ended or expired. `next_url` is the page with the next ones, if any."""

    active: bool
    quarantines: Sequence[Quarantine]
    next_url: str | None


def _states(query: QuarantineQuery) -> tuple[bool, ...]:
    """Return the sections of the page. A filter selects one of them."""
    return (True, False) if query.active is None else (query.active,)


async def _section(request: web.Request, query: QuarantineQuery, active: bool) -> QuarantineSection:
    """Return a section. The next page of a section shows only that section."""
    one = query.model_copy(update={"active": active})
    listed = await operations.list_quarantines(request.app[RESOURCES].list_pool, get_caller(request), one)
    more = request.rel_url.update_query({"active": str(active).lower(), CURSOR: listed.next_cursor or ""})
    return QuarantineSection(active, listed.items, str(more) if listed.next_cursor else None)


async def _show_new(request: web.Request, form: FormState) -> web.Response:
    projects = await find_projects(request.app[RESOURCES], get_caller(request))
    return render(request, "quarantine_new.html", {"form": form, "projects": projects}, form.status)


async def _show(request: web.Request, quarantine: Quarantine, form: FormState) -> web.Response:
    return render(request, "quarantine.html", {"quarantine": quarantine, "form": form}, form.status)


async def _find(request: web.Request) -> Quarantine:
    """Return the quarantine of the path. Raises NotFound."""
    return await operations.find_quarantine(request.app[RESOURCES].pool, get_caller(request), request.match_info["id"])


def _path(request: web.Request, quarantine_id: str) -> str:
    return page_url(request.app, "quarantine", id=quarantine_id)


def _parse_lines(text: object) -> object:
    return parse_variant(text.splitlines()) if isinstance(text, str) else text


class QuarantineForm(QuarantineIn):
    """A quarantine to create. The variant is text with one pair per line."""

    variant: Annotated[Variant | None, BeforeValidator(_parse_lines)] = None


async def quarantine_cases(
    request: web.Request, form: MultiDict[str], target: Callable[[Quarantine], str]
) -> web.Response:
    """Create a quarantine, and redirect to the path of `target`. Raises the errors of the API."""
    caller = get_caller(request)
    requested = operations.read_request(caller, parse_form(without_blanks(form), QuarantineForm))

    async def create(transaction: Transaction) -> str:
        return target(await operations.create_quarantine(transaction, caller, requested))

    return await apply_change(request, caller, create)


def new_values() -> dict[str, str]:
    """Return the initial values of the form that quarantines one case."""
    expires_at = datetime.now(UTC) + DEFAULT_DURATION
    return {"reason": "", "owner": "", "ticket_url": "", "expires_at": expires_at.date().isoformat()}


def _new_matcher_values(query: Mapping[str, str]) -> dict[str, str]:
    """Return the initial values of the form that quarantines any cases. The query can set the values of the matcher."""
    return {name: query.get(name, "") for name in _MATCHER_FIELDS} | new_values()


async def _change(request: web.Request, form: MultiDict[str], stored: Quarantine) -> web.Response:
    """Change a quarantine, and redirect to it. Raises the errors of the API."""
    ref, changes = operations.quarantine_ref(get_caller(request), stored["id"]), _read_changes(form, stored)
    return await apply_and_show(request, _path(request, stored["id"]), operations.change_quarantine, ref, changes)


def _read_changes(form: MultiDict[str], stored: Quarantine) -> dict[str, Any]:
    """Return the fields to change. A blank owner or ticket removes the stored one.

    The form shows only the date of the expiry. An unchanged date keeps its time.
    """
    given = without_blanks(form)
    given.setdefault("reason", "")
    if given.get("expires_at") == _stored_date(stored):
        given.popall("expires_at")
    return {"owner": None, "ticket_url": None, **parse_form(given, QuarantinePatch).changes()}


def _stored_values(quarantine: Quarantine) -> dict[str, str]:
    """Return the values of the form that changes a quarantine."""
    return {
        "reason": quarantine["reason"],
        "owner": quarantine["owner"] or "",
        "ticket_url": quarantine["ticket_url"] or "",
        "expires_at": _stored_date(quarantine),
    }


def _stored_date(quarantine: Quarantine) -> str:
    return quarantine["expires_at"][:_DATE_CHARACTERS]


ROUTES: Final = (
    ConsoleRoute("quarantines", "/console/quarantines", page("results:read", show_quarantines)),
    ConsoleRoute(
        "new_quarantine",
        "/console/quarantines/new",
        page("quarantines:manage", show_form),
        page("quarantines:manage", create_quarantine),
    ),
    ConsoleRoute(
        "quarantine",
        "/console/quarantines/{id}",
        page("results:read", show_quarantine),
        page("quarantines:manage", change_quarantine),
    ),
    ConsoleRoute("end_quarantine", "/console/quarantines/{id}/end", post=page("quarantines:manage", end_quarantine)),
)
