"""Trusted publishers: the list with the newest exchanges of tokens, and the forms that add, disable, and remove one."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple, get_args

from aiohttp import web
from multidict import MultiDict
from pydantic import BeforeValidator

from service.console.filters import read_page_query
from service.console.forms import FormState, apply_and_show, get_form, parse_form, state_of, submit, without_blanks
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_links, page_url, render
from service.contracts.queries import PageQuery
from service.domain.errors import InvalidRequest
from service.http.authentication import get_caller
from service.http.process import RESOURCES
from service.identity.publishers import operations
from service.identity.publishers.contract import PublisherIn, RequiredClaims
from service.identity.publishers.model import DEFAULT_ROLE, PROVIDERS, ProviderName, PublisherRole

_ROWS: Final = "50"
_ROLES: Final = [(role, role) for role in get_args(PublisherRole)]  # pairs of value and text
_OTHER: Final = "other_claims"
_DEFAULT: Final[ProviderName] = "github"

_CLAIM_EXAMPLES: Final[Mapping[ProviderName, str]] = {  # of claims that limit the jobs of a repository
    "github": "environment=staging",
    "gitlab": "ref_protected=true",
    "buildkite": "build_branch=main",
    "circleci": "oidc.circleci.com/vcs-ref=refs/heads/main",
    "oidc": "project_id=42",
}


async def show_publishers(request: web.Request) -> web.Response:
    """Show the publishers, newest first, and the newest exchanges of ID tokens."""
    caller, pool = get_caller(request), request.app[RESOURCES].pool
    listed = await operations.list_publishers(pool, caller, read_page_query(request.query, PageQuery, _ROWS))
    context = {
        "publishers": listed.items,
        "providers": PROVIDERS,
        "exchanges": await operations.list_exchanges(pool, caller, None),
        **page_links(request, listed.next_cursor),
    }
    return render(request, "publishers.html", context)


async def show_form(request: web.Request) -> web.Response:
    """Show the form that adds a publisher of the provider that the query names."""
    provider = _provider_of(request.query)
    return _show_form(request, provider, FormState(_blank_values(provider)))


async def create_publisher(request: web.Request) -> web.Response:
    """Add a publisher, and show the list. An error is shown in the form."""
    form = get_form(request)
    outcome = await submit(request, _create(request, form))
    if isinstance(outcome, web.Response):
        return outcome
    provider = _provider_of(form)
    return _show_form(request, provider, state_of(form, _blank_values(provider), outcome))


async def enable_publisher(request: web.Request) -> web.Response:
    """Enable a publisher, and show the list."""
    return await _change(request, {"enabled": True})


async def disable_publisher(request: web.Request) -> web.Response:
    """Disable a publisher, and show the list."""
    return await _change(request, {"enabled": False})


async def remove_publisher(request: web.Request) -> web.Response:
    """Remove a publisher, and show the list."""
    ref = operations.publisher_ref(get_caller(request), request.match_info["id"])
    return await apply_and_show(request, page_url(request.app, "publishers"), operations.delete_publisher, ref)


async def _change(request: web.Request, changes: dict[str, Any]) -> web.Response:
    ref = operations.publisher_ref(get_caller(request), request.match_info["id"])
    return await apply_and_show(request, page_url(request.app, "publishers"), operations.change_publisher, ref, changes)


class ClaimField(NamedTuple):
    """The field of a required claim."""

    field: str  # claim_1
    claim: str
    hint: str


def _show_form(request: web.Request, provider: ProviderName, form: FormState) -> web.Response:
    context = {
        "providers": PROVIDERS,
        "provider": provider,
        "claims": _claim_fields(provider),
        "example": _CLAIM_EXAMPLES[provider],
        "roles": _ROLES,
        "form": form,
    }
    return render(request, "publisher_new.html", context, form.status)


def _provider_of(fields: Mapping[str, str]) -> ProviderName:
    """Return the provider that a query or form names, or the default."""
    requested = fields.get("provider")
    return next((name for name in PROVIDERS if name == requested), _DEFAULT)


def _blank_values(provider: ProviderName) -> dict[str, str]:
    """Return the initial values of the form."""
    claims = dict.fromkeys((field.field for field in _claim_fields(provider)), "")
    return {"issuer": "", "project_id": "", "role": DEFAULT_ROLE, "name": "", _OTHER: "", **claims}


def _claim_fields(provider: ProviderName) -> list[ClaimField]:
    """Return the fields of the required claims."""
    known = PROVIDERS[provider]
    hint = known.hint[:1].upper() + known.hint[1:]
    claims = enumerate(known.required_claims, 1)
    return [ClaimField(f"claim_{number}", claim, hint if number == 1 else "") for number, claim in claims]


def _parse_lines(text: object) -> object:
    """Return the claims of lines such as `ref=refs/heads/main`."""
    if not isinstance(text, str):
        return text
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("must be one NAME=VALUE per line")
    return {name.strip(): value.strip() for name, _, value in pairs}


class PublisherForm(PublisherIn):
    """A publisher to create. The claims are text with one per line."""

    claims: Annotated[RequiredClaims, BeforeValidator(_parse_lines)]


async def _create(request: web.Request, form: MultiDict[str]) -> web.Response:
    """Create a publisher, and redirect to the list. Raises the errors of the API, with the fields of this form."""
    caller, provider = get_caller(request), _provider_of(form)
    try:
        body = parse_form(_with_claims(form, provider), PublisherForm)
        new = operations.read_request(caller, body, request.app[RESOURCES].settings.issuer_addresses)
    except InvalidRequest as error:
        raise _at_field(error, provider) from None
    return await apply_and_show(request, page_url(request.app, "publishers"), operations.create_publisher, caller, new)


def _with_claims(form: MultiDict[str], provider: ProviderName) -> MultiDict[str]:
    """Return the fields of the API, with all claims as lines."""
    given = without_blanks(form)
    lines = [f"{field.claim}={text}" for field in _claim_fields(provider) if (text := given.pop(field.field, ""))]
    lines.append(given.pop(_OTHER, ""))
    given["claims"] = "\n".join(lines)
    return given


def _at_field(error: InvalidRequest, provider: ProviderName) -> InvalidRequest:
    """Return the error of a claim as one of the field that contains it."""
    param, _, text = str(error).partition(": ")
    if param.partition(".")[0] != "claims":
        return error
    claim = param.partition(".")[2]
    field = next((field.field for field in _claim_fields(provider) if field.claim == claim), _OTHER)
    return InvalidRequest(f"{field}: {f'the claim {claim} ' if field == _OTHER and claim else ''}{text}", field)


ROUTES: Final = (
    ConsoleRoute("publishers", "/console/publishers", page("keys:manage", show_publishers)),
    ConsoleRoute(
        "new_publisher",
        "/console/publishers/new",
        page("keys:manage", show_form),
        page("keys:manage", create_publisher),
    ),
    ConsoleRoute("enable_publisher", "/console/publishers/{id}/enable", post=page("keys:manage", enable_publisher)),
    ConsoleRoute("disable_publisher", "/console/publishers/{id}/disable", post=page("keys:manage", disable_publisher)),
    ConsoleRoute("remove_publisher", "/console/publishers/{id}/remove", post=page("keys:manage", remove_publisher)),
)
