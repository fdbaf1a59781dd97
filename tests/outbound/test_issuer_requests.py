"""Requests to the endpoints of a provider at which people sign in."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest

from service.domain.addresses import AllowedAddresses
from service.outbound.issuers import Endpoints, Issuers, IssuerUnavailable, open_issuers
from tests.oidc.issuers import CONFIGURATION, KEYS, Reply, SigningIssuer

TOKEN = "/token"
FORM = {"grant_type": "authorization_code", "code": "a b"}


@pytest.fixture
def issuer() -> Iterator[SigningIssuer]:
    with SigningIssuer() as issuer:
        yield issuer


@pytest.fixture
async def issuers() -> AsyncIterator[Issuers]:
    async with open_issuers(AllowedAddresses(loopback=True)) as issuers:
        yield issuers


def configure(issuer: SigningIssuer, **changes: Any) -> None:
    endpoints = {name: f"{issuer.url}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
    document = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}{KEYS}", **endpoints, **changes}
    issuer.replies[CONFIGURATION] = Reply(document)


async def test_endpoints_are_those_of_the_configuration(issuer: SigningIssuer, issuers: Issuers) -> None:
    configure(
        issuer, userinfo_endpoint=f"{issuer.url}/me", token_endpoint_auth_methods_supported=["client_secret_post"],
        authorization_response_iss_parameter_supported=True,
    )  # fmt: skip
    urls = f"{issuer.url}/authorization_endpoint", f"{issuer.url}/token_endpoint"
    assert await issuers.find_endpoints(issuer.url) == Endpoints(*urls, None, f"{issuer.url}/me", False, True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"token_endpoint": None}, "its configuration needs authorization_endpoint and token_endpoint"),
        ({"authorization_endpoint": "https://example.com/" + "a" * 2_000}, "its configuration needs"),
        ({"token_endpoint": "http://example.com/token"}, "http://example.com/token: must start with https://"),
        ({"end_session_endpoint": "javascript:alert(1)"}, "'javascript:alert(1)': must have a host"),
    ],
)
async def test_unusable_endpoints_are_refused(
    issuer: SigningIssuer, issuers: Issuers, changes: Mapping[str, Any], reason: str
) -> None:
    configure(issuer, **changes)
    with pytest.raises(IssuerUnavailable) as raised:
        await issuers.find_endpoints(issuer.url)
    assert reason in raised.value.reason


async def test_form_is_posted_with_the_credentials_of_the_client(issuer: SigningIssuer, issuers: Issuers) -> None:
    issuer.replies[TOKEN] = Reply({"error": "invalid_grant"}, 400)
    answer = await issuers.post_form(f"{issuer.url}{TOKEN}", FORM, ("console", "a:b c"))
    assert answer == (400, {"error": "invalid_grant"})
    assert issuer.bodies == [b"grant_type=authorization_code&code=a+b"]
    assert issuer.authorizations == ["Basic Y29uc29sZTphJTNBYitj"]  # console:a%3Ab+c
    await issuers.post_form(f"{issuer.url}{TOKEN}", FORM)
    assert issuer.authorizations[1] is None


@pytest.mark.parametrize("status", [301, 307])
async def test_secret_of_the_client_is_not_sent_to_another_address(
    issuer: SigningIssuer, issuers: Issuers, status: int
) -> None:
    with SigningIssuer() as other:
        issuer.replies[TOKEN] = Reply(status=status, headers={"Location": f"{other.url}{TOKEN}"})
        with pytest.raises(IssuerUnavailable, match=rf"the response with the status {status} isn't a JSON object$"):
            await issuers.post_form(f"{issuer.url}{TOKEN}", FORM, ("console", "secret"))
        with pytest.raises(IssuerUnavailable, match=rf"responds with the status {status}, and redirects aren't foll"):
            await issuers.get_object(f"{issuer.url}{TOKEN}", "token")
        assert not other.requests
    assert issuer.authorizations[1] == "Bearer token"
