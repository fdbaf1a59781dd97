"""The attempts of sign-ins, and what a provider states about a person."""

from typing import Any

import pytest

from service.domain.errors import InvalidRequest
from service.domain.ids import OrgId
from service.identity.members.model import MemberRole, Membership
from service.identity.members.sign_ins import (
    OidcClient,
    add_user_info,
    authorization_url,
    hide_narrower,
    new_attempt,
    read_attempt,
    read_code,
    read_identity,
    write_attempt,
)

CLIENT = OidcClient("https://idp.example", "results", "secret", "https://results.example/cb", "openid", "roles")


def membership(organization: str, role: MemberRole, project_id: str | None = None) -> Membership:
    return Membership(OrgId(1), organization, f"mem_{organization}_{project_id}", role, project_id)


def test_attempt_ends_after_ten_minutes() -> None:
    attempt = new_attempt("/console/runs", 1_000.7)
    cookie = write_attempt(attempt)
    assert read_attempt(cookie, 1_599.0) == attempt
    assert read_attempt(cookie, 971.0) == attempt  # the clock of another machine
    for now in (1_600.0, 969.0):
        with pytest.raises(InvalidRequest, match="has not started a sign-in in the last 10 minutes"):
            read_attempt(cookie, now)
    assert attempt != new_attempt("/console/runs", 1_000.7)
    for changed in (attempt._replace(started_at=-(10**400)), attempt._replace(state="\ud800")):
        with pytest.raises(InvalidRequest, match="start again"):
            read_attempt(write_attempt(changed), 1_001.0)


def test_endpoint_of_the_provider_can_have_a_query() -> None:
    url = authorization_url(CLIENT, "https://idp.example/auth?p=1", new_attempt("/console", 0), as_other=True)
    assert url.startswith("https://idp.example/auth?p=1&response_type=code&client_id=results&")
    assert url.endswith("&prompt=login")


def test_response_must_name_its_provider_if_the_provider_can() -> None:
    query = [("code", "a"), ("state", "b")]
    assert read_code(query, CLIENT.issuer, requires_issuer=False) == "a"
    assert read_code([*query, ("iss", CLIENT.issuer)], CLIENT.issuer, requires_issuer=True) == "a"
    for parameters in (query, [*query, ("iss", f"{CLIENT.issuer}/")], [*query, ("iss", "")]):
        with pytest.raises(InvalidRequest, match="iss: the response isn't from the provider"):
            read_code(parameters, CLIENT.issuer, requires_issuer=True)
    with pytest.raises(InvalidRequest, match="sent a parameter twice"):
        read_code([*query, ("code", "c")], CLIENT.issuer, requires_issuer=False)


@pytest.mark.parametrize(
    ("claims", "email", "stated"),
    [
        ({"email": "Ada@Example.org", "email_verified": True}, "ada@example.org", "ada@example.org"),
        ({"email": "\u212aate@example.org", "email_verified": True}, "\u212aate@example.org", "\u212aate@example.org"),
        ({"email": "ada@example.org", "email_verified": "true"}, None, "ada@example.org"),
        ({"email": "ada@example.org"}, None, "ada@example.org"),
        ({"email": "ada", "email_verified": True}, None, None),
        ({"email": None, "email_verified": True}, None, None),
    ],
)
def test_only_a_verified_email_counts(claims: dict[str, Any], email: str | None, stated: str | None) -> None:
    found = read_identity(CLIENT, {"sub": "1", "name": " Ada\n\u202eL. ", "roles": "admin", **claims})
    assert (found.identity.email, found.stated_email) == (email, stated)
    assert (found.identity.name, found.identity.groups) == ("Ada L.", ("admin",))


def test_user_info_verifies_only_its_own_email() -> None:
    claims, verified = {"sub": "1", "email": "ada@example.org"}, {"sub": "1", "email_verified": True}
    mine = {**verified, "email": "eve@example.org"}
    assert "email_verified" not in add_user_info(CLIENT, claims, verified)
    assert add_user_info(CLIENT, claims, mine) == mine
    assert add_user_info(CLIENT, {**claims, "email_verified": False}, mine) == {**claims, "email_verified": False}


def test_membership_of_a_project_is_hidden_if_it_allows_nothing_in_addition() -> None:
    of_all, viewer = membership("acme", "engineer"), membership("acme", "viewer", "shop")
    admin, other = membership("acme", "admin", "docs"), membership("other", "viewer", "shop")
    assert hide_narrower([of_all, admin, viewer, membership("acme", "engineer", "app"), other]) == [
        of_all,
        admin,
        other,
    ]
