"""Exchanges of ID tokens for keys: their limits, their errors, and the choice of a publisher."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Literal

from service.domain.texts import clean_json
from service.identity.publishers.model import PROVIDERS, Publisher, matches_identity

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
KEY_LIFETIME: Final = timedelta(minutes=15)
MAX_EXCHANGES: Final = 20  # of one token: a job can need a key for each project, and new ones when they expire

ExchangeError = Literal["invalid_request", "invalid_scope", "unsupported_grant_type"]

_SCOPE: Final = "project:"
_ROLES: Final = ("uploader", "engineer")  # a role has the permissions of those before it


class ExchangeRefused(Exception):
    """The exchange is refused; the description says to the caller what to check.

    `projects` are the IDs that a scope can name. `is_authentic` means that a publisher accepts the token.
    """

    def __init__(
        self, error: ExchangeError, description: str, projects: Sequence[str] = (), *, is_authentic: bool = False
    ) -> None:
        super().__init__(description)
        self.error: ExchangeError = error
        self.description = description
        self.projects = projects
        self.is_authentic = is_authentic


def refuse_unknown(audience: str) -> ExchangeRefused:
    """Return the refusal of a token that no publisher accepts.

    It's the same for each reason, so that nobody learns from it which publishers and organizations exist.
    """
    return ExchangeRefused(
        "invalid_request",
        "subject_token: no trusted publisher accepts this token. Check that it's unchanged, not expired, and issued for"
        f" the audience {audience}. Compare its issuer and its claims with those of the publishers. If one has its IDs,"
        " an admin sees the reason in the console under Publishers",
    )


def token_digest(token: str, claims: Mapping[str, Any]) -> bytes:
    """Return the digest that identifies a token: of its issuer and ID, or of the part that the issuer signed.

    The signature isn't included, because others can write an equal one differently.
    """
    token_id = claims.get("jti")
    identity = f"{claims['iss']}\n{token_id}" if isinstance(token_id, str) and token_id else token.rpartition(".")[0]
    return sha256(identity.encode("utf-8", "replace")).digest()


def find_of_repository(found: Sequence[Publisher], claims: Mapping[str, Any]) -> list[Publisher]:
    """Return the publishers with the IDs of an authentic token, which are of one organization.

    Anybody can read the IDs of a repository, and create a publisher with them in another organization. So the request
    must name its organization as soon as there are two, even if only one of them accepts the token. Otherwise, a job
    that its own organization refuses would get a key of the other one. Raises ExchangeRefused.
    """
    known = [publisher for publisher in found if matches_identity(publisher, claims)]
    # Those of other issuers have no IDs that can be compared.
    possible = [publisher for publisher in found if publisher.provider == "oidc"] if known else []
    if len({publisher.org_id for publisher in (*known, *possible)}) > 1:
        raise ExchangeRefused(
            "invalid_request",
            "organization: is required, because publishers of several organizations have the IDs of the token. Send the"
            " slug of yours (RESULTS_ORGANIZATION)",
            is_authentic=True,
        )
    return known


def choose_publisher(accepting: Sequence[Publisher], scope: str | None) -> Publisher:
    """Return the publisher whose project and role the key gets. Raises ExchangeRefused if the request must state more.

    Of several publishers of a project, the one with more permissions is chosen.
    """
    projects = sorted({publisher.project_id for publisher in accepting})
    project_id = _read_scope(scope, projects)
    if project_id is None and len(projects) > 1:
        raise _refuse_scope("must name one of the projects whose publishers accept the token: project:<id>", projects)
    of_project = [publisher for publisher in accepting if project_id in (None, publisher.project_id)]
    if not of_project:
        raise _refuse_scope("no publisher of this project accepts the token", projects)
    return max(of_project, key=lambda publisher: (_ROLES.index(publisher.role), publisher.publisher_id))


def shown_claims(publisher: Publisher, claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims that an admin sees: the claims that a publisher can name. Others can be personal data."""
    provider = PROVIDERS[publisher.provider]
    names = {*publisher.claims, *provider.required_claims, *(provider.optional_claims or ())}
    shown: dict[str, Any] = clean_json({name: claims[name] for name in sorted(names) if name in claims})[0]
    return shown


def _read_scope(scope: str | None, projects: Sequence[str]) -> str | None:
    if scope is None:
        return None
    if not scope.startswith(_SCOPE) or scope == _SCOPE:
        raise _refuse_scope("must be project:<id>, with the ID of one project", projects)
    return scope.removeprefix(_SCOPE)


def _refuse_scope(description: str, projects: Sequence[str]) -> ExchangeRefused:
    return ExchangeRefused("invalid_scope", f"scope: {description}", projects, is_authentic=True)
