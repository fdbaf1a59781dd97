"""Trusted publishers: the list with the newest exchanges of tokens, and the forms that add, disable, and remove one."""

from functools import partial
from typing import Any, Final, get_args

from aiohttp import web
from multidict import MultiDict

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.api.resources import RESOURCES
from service.console import publisher_forms
from service.console.changes import apply_change
from service.console.form_states import FormState, state_of, submit
from service.console.forms import get_form
from service.console.page_links import page_links
from service.console.pages import page_url, render
from service.contracts.queries import PageQuery
from service.domain.publishers import PROVIDERS, ProviderName, PublisherRole
from service.usecases.administration import publishers as usecase
from service.usecases.administration.mutate import Transaction
from service.usecases.lists.list_publishers import list_exchanges, list_publishers

_ROWS: Final = "50"
_ROLES: Final = [(role, role) for role in get_args(PublisherRole)]  # pairs of value and text


async def show_publishers(request: web.Request) -> web.Response:
    """Show the publishers, newest first, and the newest exchanges of ID tokens."""
    caller, pool = get_caller(request), request.app[RESOURCES].pool
    given = MultiDict(request.query)
    given.setdefault("limit", _ROWS)
    page = await list_publishers(pool, caller, parse_pairs(given, PageQuery, "query parameter"))
    context = {
        "publishers": page.items,
        "providers": PROVIDERS,
        "exchanges": await list_exchanges(pool, caller, None),
        **page_links(request.rel_url, page.next_cursor)._asdict(),
    }
    return render(request, "publishers.html", context)


async def show_form(request: web.Request) -> web.Response:
    """Show the form that adds a publisher of the provider that the query names."""
    provider = publisher_forms.provider_of(request.query)
    return _new(request, provider, FormState(publisher_forms.blank_values(provider)))


async def create_publisher(request: web.Request) -> web.Response:
    """Add a publisher, and show the list. An error is shown in the form."""
    form, target = get_form(request), page_url(request.app, "publishers")
    outcome = await submit(request, partial(publisher_forms.create_publisher, request, form, target))
    if isinstance(outcome, web.Response):
        return outcome
    provider = publisher_forms.provider_of(form)
    return _new(request, provider, state_of(form, publisher_forms.blank_values(provider), outcome))


async def enable_publisher(request: web.Request) -> web.Response:
    """Enable a publisher, and show the list."""
    return await _change(request, {"enabled": True})


async def disable_publisher(request: web.Request) -> web.Response:
    """Disable a publisher, and show the list."""
    return await _change(request, {"enabled": False})


async def remove_publisher(request: web.Request) -> web.Response:
    """Remove a publisher, and show the list."""
    ref = usecase.publisher_ref(get_caller(request), request.match_info["id"])

    async def remove(transaction: Transaction) -> str:
        await usecase.delete_publisher(transaction, ref)
        return page_url(request.app, "publishers")

    return await apply_change(request, get_caller(request), remove)


async def _change(request: web.Request, changes: dict[str, Any]) -> web.Response:
    ref = usecase.publisher_ref(get_caller(request), request.match_info["id"])

    async def change(transaction: Transaction) -> str:
        await usecase.change_publisher(transaction, ref, changes)
        return page_url(request.app, "publishers")

    return await apply_change(request, get_caller(request), change)


def _new(request: web.Request, provider: ProviderName, form: FormState) -> web.Response:
    context = {
        "providers": PROVIDERS,
        "provider": provider,
        "claims": publisher_forms.claim_fields(provider),
        "example": publisher_forms.CLAIM_EXAMPLES[provider],
        "roles": _ROLES,
        "form": form,
    }
    return render(request, "publisher_new.html", context, form.status)
