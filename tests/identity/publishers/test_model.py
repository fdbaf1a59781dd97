"""Tests of the rules of trusted publishers: which claims and issuers they can have, and which tokens they match."""

from typing import Any

import pytest

from service.domain.addresses import AllowedAddresses
from service.domain.errors import InvalidRequest
from service.domain.ids import OrgId
from service.identity.publishers.model import (
    PROVIDERS,
    ProviderName,
    Publisher,
    check_claims,
    check_issuer,
    describe_mismatch,
    matches,
    matches_identity,
)

IDS = {"repository_id": "7", "repository_owner_id": "3"}
PUBLIC = AllowedAddresses()


def publisher(claims: dict[str, str], provider: ProviderName = "github", *, enabled: bool = True) -> Publisher:
    return Publisher(OrgId(1), "acme", "pub_1", provider, claims, "shop", "uploader", enabled)


@pytest.mark.parametrize(
    ("token", "is_match"),
    [
        (IDS, True),
        ({**IDS, "repository": "acme/renamed", "sub": "repo:acme@3/shop@7:ref:refs/heads/main"}, True),
        ({"repository_id": 7, "repository_owner_id": 3}, True),
        ({**IDS, "repository_owner_id": "4"}, False),  # recreated by another owner
        ({**IDS, "repository_id": "8"}, False),  # recreated with the same name
        ({"repository_id": "7"}, False),
        ({**IDS, "repository_id": ["7"]}, False),
        ({**IDS, "repository_id": {"7": "7"}}, False),
        ({**IDS, "repository_id": 7.0}, False),
        ({**IDS, "repository_id": None}, False),
        ({**IDS, "repository_id": "07"}, False),
        ({}, False),
    ],
)
def test_a_token_matches_only_with_the_same_ids(token: dict[str, Any], is_match: bool) -> None:
    assert matches(publisher(IDS), token) is is_match
    assert matches_identity(publisher(IDS), token) is is_match


def test_other_claims_differ_without_changing_the_identity() -> None:
    limited = publisher({**IDS, "environment": "production", "ref_protected": "True"})
    token = {**IDS, "environment": "staging", "ref_protected": True}
    assert matches_identity(limited, token)
    assert not matches(limited, token)
    assert describe_mismatch(limited, token) == (
        "environment must be 'production', but the token has 'staging'; "
        "ref_protected must be 'True', but the token has a bool"
    )
    assert describe_mismatch(limited, IDS).startswith("environment must be 'production', but the token has no such")


def test_a_publisher_of_another_issuer_has_no_identity_except_all_of_its_claims() -> None:
    limited = publisher({"project": "7", "branch": "main"}, "oidc")
    assert matches_identity(limited, {"project": 7, "branch": "main", "job": "1"})
    assert not matches_identity(limited, {"project": "7", "branch": "other"})
    assert not matches(publisher({}, "oidc"), {"project": "7"})  # a publisher without claims would match all tokens


@pytest.mark.parametrize(
    ("provider", "claims", "param", "message"),
    [
        ("github", {**IDS, "sub": "repo:acme/shop"}, "claims.sub", "names, which others can register again"),
        ("github", {**IDS, "aud": "x"}, "claims.aud", "RESULTS_PUBLIC_URL"),
        ("github", {**IDS, "iss": "x"}, "claims.iss", "field issuer"),
        ("oidc", {"exp": "1"}, "claims.exp", "differs in each token"),
        ("github", {**IDS, "repository": "acme/shop"}, "claims.repository", "Did you mean repository_id?"),
        ("circleci", {"project-id": "x"}, "claims.project-id", "Did you mean oidc.circleci.com/project-id?"),
        ("github", {**IDS, "zzz": "1"}, "claims.zzz", "Use one of: repository_id, "),
        ("github", {"repository_id": "acme/shop"}, "claims.repository_id", "gh api repos/OWNER/NAME"),
        ("github", {"repository_id": "\u0667"}, "claims.repository_id", "must be a number"),
        ("github", {"repository_id": "7"}, "claims.repository_owner_id", "is required for github"),
        ("gitlab", {"project_id": "acme/shop"}, "claims.project_id", "must be a number"),
        ("buildkite", {"organization_id": "acme"}, "claims.organization_id", "must be a UUID; a slug is not an ID"),
        ("oidc", {}, "claims", "at least one claim"),
        ("oidc", {"a": ""}, "claims.a", "1 to 500"),
        ("oidc", {"a": "x" * 501}, "claims.a", "1 to 500"),
        ("oidc", {"a": "x\n"}, "claims.a", "printable"),
        ("oidc", {"": "x"}, "claims", "1 to 200"),
        ("oidc", {str(n): "x" for n in range(21)}, "claims", "at most 20"),
    ],
)
def test_a_claim_is_rejected_with_what_to_do(
    provider: ProviderName, claims: dict[str, str], param: str, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=r"^claims") as raised:
        check_claims(provider, claims)
    assert raised.value.param == param
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("provider", "issuer", "message"),
    [
        ("circleci", None, "is required for circleci (https://oidc.circleci.com/org/<organization ID>)"),
        ("oidc", None, "is required for oidc"),
        ("gitlab", "https://gitlab.com/", "compared exactly; did you mean https://gitlab.com?"),
        ("oidc", "https://gitlab.com", "use the provider gitlab"),
        ("oidc", "https://oidc.circleci.com/org/1", "use the provider circleci"),
        ("oidc", "http://ci.example.com", "must start with https://"),
        ("oidc", "http://127.0.0.1:1", "must start with https://"),
        ("oidc", "https://10.0.0.1", "10.0.0.1 is not a public address"),
        ("oidc", "https://a@ci.example.com", "no user name"),
        ("oidc", "https://ci.example.com?", "query"),
        ("oidc", "https://ci.example.com#", "fragment"),
        ("oidc", "https://ci.example.com/a b", "without spaces"),
        ("oidc", "https:///a", "a host"),
        ("oidc", "https://[", "valid URL"),
    ],
)
def test_an_issuer_is_rejected_with_what_to_do(provider: ProviderName, issuer: str | None, message: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^issuer: ") as raised:
        check_issuer(provider, issuer, PUBLIC)
    assert message in str(raised.value)


def test_an_issuer_keeps_its_text() -> None:
    for text in ("https://ci.example.com", "https://ci.example.com/", "https://gitlab.example.com:8443/a"):
        assert check_issuer("gitlab", text, PUBLIC) == text
    assert check_issuer("oidc", "http://127.0.0.1:9/github", AllowedAddresses(loopback=True)).startswith("http:")
    assert [check_issuer(name, None, PUBLIC) for name, known in PROVIDERS.items() if known.default_issuer] == [
        PROVIDERS["github"].default_issuer, "https://gitlab.com", "https://agent.buildkite.com",
    ]  # fmt: skip
