"""Trusted publishers: CI jobs that exchange an ID token for a key of 15 minutes."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from service.domain.addresses import AllowedAddresses, parse_address
from service.domain.errors import InvalidRequest
from service.domain.ids import OrgId

ProviderName = Literal["github", "gitlab", "buildkite", "circleci", "oidc"]  # schema.sql checks the same names
PublisherRole = Literal["uploader", "engineer"]  # the roles of jobs, the one with fewer permissions first

DEFAULT_ROLE: Final[PublisherRole] = "uploader"
MAX_PUBLISHERS: Final = 500  # per organization, because each exchange compares its token with all of an issuer
MAX_CLAIMS: Final = 20
MAX_CLAIM_CHARS: Final = 500  # of a value; of a name, 200
_MAX_NAME_CHARS: Final = 200
_MAX_ISSUER_CHARS: Final = 500

_DIGITS: Final = re.compile(r"\d{1,20}", re.ASCII)
_UUID: Final = re.compile(r"\w{8}(-\w{4}){3}-\w{12}", re.ASCII)  # the documentation of Buildkite has other letters too
_CIRCLECI_HOST: Final = "oidc.circleci.com"

# Claims of every token that no publisher can name, with the reason.
_RESERVED: Final = {
    "sub": "can't be a claim of a publisher, because its format differs between repositories and contains names, which "
    "others can register again after a deletion or a rename. Use the claims with IDs",
    "iss": "is the field issuer of the publisher, not a claim",
    "aud": "is always the URL of this service, which RESULTS_PUBLIC_URL states; remove it",
    **dict.fromkeys(("exp", "iat", "nbf", "jti"), "differs in each token; remove it"),
}


class JobClaims(NamedTuple):
    """What the ID token of a CI job states. None if the token doesn't state the value.

    `job` identifies the job for people, as a URL if the token contains one. The other values are the same as in an
    upload.
    """

    publisher_id: str  # pub_…
    job: str
    branch: str | None = None
    commit_sha: str | None = None
    pull_request: str | None = None
    pipeline: str | None = None  # as the client states it, such as github-812


class Provider(NamedTuple):
    """A CI system whose ID tokens are accepted.

    The required claims identify a repository by IDs that nobody can register again. The optional ones limit its jobs.
    `id_format` is the format of the required claims, and `hint` states how to find them.
    """

    label: str
    default_issuer: str | None
    required_claims: tuple[str, ...]
    optional_claims: tuple[str, ...] | None  # None: all claims
    id_format: re.Pattern[str] | None
    hint: str


PROVIDERS: Final[Mapping[ProviderName, Provider]] = {
    "github": Provider(
        "GitHub Actions",
        "https://token.actions.githubusercontent.com",
        ("repository_id", "repository_owner_id"),
        (
            "environment", "ref", "ref_type", "ref_protected", "job_workflow_ref", "workflow_ref", "event_name",
            "base_ref", "repository_visibility", "runner_environment", "actor_id", "enterprise_id",
        ),
        _DIGITS,
        "must be a number; owner/name is not an ID. Find both IDs with: "
        "gh api repos/OWNER/NAME --jq '.id, .owner.id'",
    ),
    "gitlab": Provider(
        "GitLab CI/CD",
        "https://gitlab.com",
        ("project_id", "namespace_id"),
        (
            "ref", "ref_type", "ref_path", "ref_protected", "environment", "environment_protected", "deployment_tier",
            "ci_config_ref_uri", "ci_config_sha", "pipeline_source", "project_visibility", "runner_environment",
            "user_id", "job_project_id", "job_namespace_id",
        ),
        _DIGITS,
        "must be a number; group/name is not an ID. Find both IDs with: "
        "glab api projects/GROUP%2FNAME, in the fields id and namespace.id",
    ),
    "buildkite": Provider(
        "Buildkite",
        "https://agent.buildkite.com",
        ("organization_id", "pipeline_id"),
        ("build_branch", "build_tag", "build_source", "cluster_id", "queue_id", "runner_environment", "step_key"),
        _UUID,
        "must be a UUID; a slug is not an ID. Find it in the field id of "
        "https://api.buildkite.com/v2/organizations/SLUG, and of the same URL with /pipelines/SLUG",
    ),
    "circleci": Provider(
        "CircleCI",
        None,
        ("oidc.circleci.com/project-id",),
        (
            "oidc.circleci.com/org-id", "oidc.circleci.com/pipeline-definition-id", "oidc.circleci.com/vcs-origin",
            "oidc.circleci.com/vcs-ref",
        ),
        _UUID,
        "must be a UUID; a name is not an ID. Find it under Project Settings > Overview",
    ),
    "oidc": Provider("Another OpenID Connect issuer", None, (), None, None, ""),
}  # fmt: skip


class Publisher(NamedTuple):
    """A publisher of an organization (`slug`), with the project and role of the keys of its jobs."""

    org_id: OrgId
    slug: str
    publisher_id: str
    provider: ProviderName
    claims: Mapping[str, str]
    project_id: str
    role: PublisherRole
    enabled: bool


def matches(publisher: Publisher, claims: Mapping[str, Any]) -> bool:
    """Return whether the publisher is enabled, and an authentic token of its issuer has all of its claims."""
    return publisher.enabled and _has_claims(publisher, claims)


def identities_of(claims: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the IDs of the repository that an authentic token states, for each provider whose IDs it has."""
    required = [provider.required_claims for provider in PROVIDERS.values() if provider.required_claims]
    stated = [{name: _as_text(claims.get(name)) for name in names} for names in required]
    complete = (ids for ids in stated if None not in ids.values())
    return [{name: text for name, text in ids.items() if text is not None} for ids in complete]


def matches_identity(publisher: Publisher, claims: Mapping[str, Any]) -> bool:
    """Return whether the token is of the publisher's repository: its IDs are equal, other claims can differ.

    A publisher of another OpenID Connect issuer has no such IDs, so all of its claims must be equal.
    """
    required = PROVIDERS[publisher.provider].required_claims
    if not required:
        return _has_claims(publisher, claims)
    return all(name in publisher.claims and _is_equal(claims, name, publisher.claims[name]) for name in required)


def describe_mismatch(publisher: Publisher, claims: Mapping[str, Any]) -> str:
    """Return why a publisher doesn't accept a token with these claims, for an admin; "" if it does."""
    if not publisher.enabled:
        return "the publisher is disabled"
    return "; ".join(
        f"{name} must be {required!r}, but the token has {_describe(claims, name)}"
        for name, required in sorted(publisher.claims.items())
        if not _is_equal(claims, name, required)
    )


def _has_claims(publisher: Publisher, claims: Mapping[str, Any]) -> bool:
    return bool(publisher.claims) and all(_is_equal(claims, *claim) for claim in publisher.claims.items())


def _is_equal(claims: Mapping[str, Any], name: str, required: str) -> bool:
    return _as_text(claims.get(name)) == required


def _as_text(value: object) -> str | None:
    """Return the text of a claim: text, or an integer in decimal. Other types never match."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _describe(claims: Mapping[str, Any], name: str) -> str:
    if name not in claims:
        return "no such claim"
    text = _as_text(claims[name])
    return f"a {type(claims[name]).__name__}" if text is None else repr(text[:MAX_CLAIM_CHARS])


def default_name(provider: ProviderName, issuer: str, claims: Mapping[str, str], repository: str | None = None) -> str:
    """Return the display name of a publisher without one: `GitHub Actions acme/shop`.

    Before the first token has stated the name of the repository, the name contains its ID: `GitHub Actions 1296269`.
    """
    required = PROVIDERS[provider].required_claims
    if not required:
        return str(urlsplit(issuer).hostname)
    return f"{PROVIDERS[provider].label} {repository or claims[required[0]]}"


def check_claims(provider: ProviderName, claims: Mapping[str, str]) -> dict[str, str]:
    """Return the claims of a new or changed publisher as text. Raises InvalidRequest with the param `claims.<name>`."""
    known = PROVIDERS[provider]
    if len(claims) > MAX_CLAIMS:
        raise InvalidRequest(f"claims: must have at most {MAX_CLAIMS} claims", "claims")
    texts = {name: _check_claim(known, name, value) for name, value in claims.items()}
    for name in known.required_claims:
        if name not in texts:
            raise _invalid(name, f"is required for {provider} and {known.hint}")
    if not texts:
        raise InvalidRequest(
            "claims: must have at least one claim that only your jobs have: an issuer can issue tokens to others",
            "claims",
        )
    return texts


def _check_claim(provider: Provider, name: str, value: str) -> str:
    if name in _RESERVED:
        raise _invalid(name, _RESERVED[name])
    if not 1 <= len(name) <= _MAX_NAME_CHARS or not name.isprintable():
        raise InvalidRequest(f"claims: a name must have 1 to {_MAX_NAME_CHARS} printable characters", "claims")
    if provider.optional_claims is not None and name not in (*provider.required_claims, *provider.optional_claims):
        raise _invalid(name, _describe_unknown(provider, name))
    if not 1 <= len(value) <= MAX_CLAIM_CHARS or not value.isprintable():
        raise _invalid(name, f"must have 1 to {MAX_CLAIM_CHARS} printable characters")
    if name in provider.required_claims and provider.id_format is not None and not provider.id_format.fullmatch(value):
        raise _invalid(name, provider.hint)
    return value


def _describe_unknown(provider: Provider, name: str) -> str:
    known = [*provider.required_claims, *(provider.optional_claims or ())]
    similar = [claim for claim in known if claim.endswith(f"/{name}")] or get_close_matches(name, known, 1)
    advice = f"Did you mean {similar[0]}?" if similar else f"Use one of: {', '.join(known)}"
    return f"is not a claim of {provider.label} that a publisher can have. {advice}"


def _invalid(name: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"claims.{name}: {message}", f"claims.{name}")


def check_issuer(provider: ProviderName, issuer: str | None, allowed: AllowedAddresses) -> str:
    """Return the issuer of a new or changed publisher: by default, the issuer of the provider. Raises InvalidRequest.

    Literal addresses are checked here, and the addresses of host names at connect time. If loopback addresses are
    allowed (for development), plain HTTP to them is too.
    """
    if issuer is None:
        default = PROVIDERS[provider].default_issuer
        if default is None:
            example = " (https://oidc.circleci.com/org/<organization ID>)" if provider == "circleci" else ""
            raise InvalidRequest(f"issuer: is required for {provider}{example}", "issuer")
        return default
    _check_url(issuer, allowed)
    _check_issuer_of_provider(provider, issuer)
    return issuer


def _check_url(issuer: str, allowed: AllowedAddresses) -> None:
    try:
        parts = urlsplit(issuer)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRequest("issuer: must be a valid URL", "issuer") from None
    if not host or len(issuer) > _MAX_ISSUER_CHARS or not issuer.isascii() or not issuer.isprintable() or " " in issuer:
        raise InvalidRequest(
            f"issuer: must be a URL with a host, without spaces, and with at most {_MAX_ISSUER_CHARS} ASCII characters",
            "issuer",
        )
    if parts.username is not None or "?" in issuer or "#" in issuer:
        raise InvalidRequest("issuer: must have no user name, query, or fragment", "issuer")
    address = parse_address(host)
    is_local = host == "localhost" or (address is not None and address.is_loopback)
    if parts.scheme != "https" and not (parts.scheme == "http" and allowed.loopback and is_local):
        raise InvalidRequest("issuer: must start with https://", "issuer")
    if address is not None and not allowed.contains(address):
        raise InvalidRequest(f"issuer: {allowed.describe_rejection(host)}", "issuer")


def _check_issuer_of_provider(provider: ProviderName, issuer: str) -> None:
    """Reject a known issuer with another spelling, and one whose tokens another provider checks more strictly."""
    for name, known in PROVIDERS.items():
        exact = known.default_issuer
        if exact is not None and issuer != exact and issuer.rstrip("/").lower() == exact:
            raise InvalidRequest(f"issuer: is compared exactly; did you mean {exact}?", "issuer")
        is_issuer = issuer == exact or (name == "circleci" and urlsplit(issuer).hostname == _CIRCLECI_HOST)
        if provider == "oidc" and is_issuer:
            raise InvalidRequest(
                f"issuer: issues tokens of all users of {known.label}; use the provider {name}, which requires the IDs "
                "of your repository",
                "issuer",
            )
