"""The form that creates a trusted publisher. It has one field for each required claim of the provider."""

from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple

from aiohttp import web
from multidict import MultiDict
from pydantic import BeforeValidator

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.api.resources import RESOURCES
from service.console.changes import apply_change
from service.console.form_states import without_blanks
from service.contracts.publishers import PublisherIn, RequiredClaims
from service.domain.errors import InvalidRequest
from service.domain.publishers import DEFAULT_ROLE, PROVIDERS, ProviderName
from service.usecases.administration import publishers as usecase
from service.usecases.administration.mutate import Transaction

_OTHER: Final = "other_claims"
_DEFAULT: Final[ProviderName] = "github"

CLAIM_EXAMPLES: Final[Mapping[ProviderName, str]] = {  # of claims that limit the jobs of a repository
    "github": "environment=staging",
    "gitlab": "ref_protected=true",
    "buildkite": "build_branch=main",
    "circleci": "oidc.circleci.com/vcs-ref=refs/heads/main",
    "oidc": "project_id=42",
}


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


class ClaimField(NamedTuple):
    """The field of a required claim."""

    field: str  # claim_1
    claim: str
    hint: str


def provider_of(fields: Mapping[str, str]) -> ProviderName:
    """Return the provider that a query or form names, or the default."""
    requested = fields.get("provider")
    return next((name for name in PROVIDERS if name == requested), _DEFAULT)


def claim_fields(provider: ProviderName) -> list[ClaimField]:
    """Return the fields of the required claims."""
    known = PROVIDERS[provider]
    hint = known.hint[:1].upper() + known.hint[1:]
    claims = enumerate(known.required_claims, 1)
    return [ClaimField(f"claim_{number}", claim, hint if number == 1 else "") for number, claim in claims]


def blank_values(provider: ProviderName) -> dict[str, str]:
    """Return the initial values of the form."""
    claims = dict.fromkeys((field.field for field in claim_fields(provider)), "")
    return {"issuer": "", "project_id": "", "role": DEFAULT_ROLE, "name": "", _OTHER: "", **claims}


async def create_publisher(request: web.Request, form: MultiDict[str], target: str) -> web.Response:
    """Create a publisher, and redirect. Raises the errors of the API, with the fields of this form."""
    caller, provider = get_caller(request), provider_of(form)
    try:
        body = parse_pairs(_with_claims(form, provider), PublisherForm, "field")
        new = usecase.read_request(caller, body, request.app[RESOURCES].settings.issuer_addresses)
    except InvalidRequest as error:
        raise _at_field(error, provider) from None

    async def create(transaction: Transaction) -> str:
        await usecase.create_publisher(transaction, caller, new)
        return target

    return await apply_change(request, caller, create)


def _with_claims(form: MultiDict[str], provider: ProviderName) -> MultiDict[str]:
    """Return the fields of the API, with all claims as lines."""
    given = without_blanks(form)
    lines = [f"{field.claim}={text}" for field in claim_fields(provider) if (text := given.pop(field.field, ""))]
    lines.append(given.pop(_OTHER, ""))
    given["claims"] = "\n".join(lines)
    return given


def _at_field(error: InvalidRequest, provider: ProviderName) -> InvalidRequest:
    """Return the error of a claim as one of the field that contains it."""
    param, _, text = str(error).partition(": ")
    if param.partition(".")[0] != "claims":
        return error
    claim = param.partition(".")[2]
    field = next((field.field for field in claim_fields(provider) if field.claim == claim), _OTHER)
    return InvalidRequest(f"{field}: {f'the claim {claim} ' if field == _OTHER and claim else ''}{text}", field)
