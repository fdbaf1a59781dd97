"""Tokens of a certified provider: those of CI jobs and of people."""

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx
import pytest

from service.domain.addresses import AllowedAddresses
from service.outbound.issuers import Issuers, IssuerUnavailable, TokenRefused, open_issuers
from tests.oidc.provider import ADA, OidcProvider

pytestmark = pytest.mark.nightly

AUDIENCE = "https://results.example.com"
CALLBACK = "http://127.0.0.1:8080/callback"
CLIENT = {
    "client_id": "console", "client_secret": "secret of a client", "redirect_uris": [CALLBACK],
    "post_logout_redirect_uris": ["http://127.0.0.1:8080/"],
}  # fmt: skip


@pytest.fixture
async def issuers() -> AsyncIterator[Issuers]:
    async with open_issuers(AllowedAddresses(loopback=True)) as issuers:
        yield issuers


async def test_token_of_a_ci_job_is_verified_after_a_rotation_and_while_the_provider_is_stopped(
    issuers: Issuers, oidc_provider: OidcProvider
) -> None:
    before = oidc_provider.sign({"aud": AUDIENCE, "repository_id": "1"})
    assert (await issuers.verify(before, oidc_provider.url, AUDIENCE))["repository_id"] == "1"
    oidc_provider.rotate()
    after = oidc_provider.sign({"aud": AUDIENCE, "repository_id": "2"})
    assert (await issuers.verify(after, oidc_provider.url, AUDIENCE))["repository_id"] == "2"
    with pytest.raises(TokenRefused, match=r"^kid: the issuer \S+ has no key with the ID"):
        await issuers.verify(before, oidc_provider.url, AUDIENCE)
    oidc_provider.stop()
    assert await issuers.verify(after, oidc_provider.url, AUDIENCE)
    async with open_issuers(AllowedAddresses(loopback=True)) as uncached:
        with pytest.raises(IssuerUnavailable, match=r"openid-configuration: "):
            await uncached.verify(after, oidc_provider.url, AUDIENCE)


@pytest.mark.parametrize("in_id_token", [True, False])
async def test_person_signs_in_with_a_code(issuers: Issuers, oidc_provider: OidcProvider, in_id_token: bool) -> None:
    oidc_provider.change(clients=[CLIENT], claims_in_id_token=in_id_token)
    endpoints = await issuers.find_endpoints(oidc_provider.url)
    assert endpoints.supports_iss_parameter
    assert endpoints.accepts_basic
    assert endpoints.userinfo_endpoint
    verifier, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
    code = await sign_in(endpoints.authorization_endpoint, verifier, nonce)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
    client = ("console", "secret of a client")
    status, answer = await issuers.post_form(endpoints.token_endpoint, form, client)
    assert status == 200
    claims = await issuers.verify(answer["id_token"], oidc_provider.url, "console")
    assert (claims["sub"], claims["nonce"]) == ("ada", nonce)
    assert (claims.get("email") == ADA["email"]) == in_id_token
    userinfo = await issuers.get_object(endpoints.userinfo_endpoint, answer["access_token"])
    assert userinfo == {"sub": "ada", **ADA}
    status, answer = await issuers.post_form(endpoints.token_endpoint, form, client)
    assert (status, answer["error"]) == (400, "invalid_grant")


async def sign_in(url: str, verifier: str, nonce: str) -> str:
    """Sign in as ada in a browser, and return the code of the response."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    parameters = {
        "client_id": "console", "response_type": "code", "redirect_uri": CALLBACK, "state": "state", "nonce": nonce,
        "scope": "openid email profile groups", "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    async with httpx.AsyncClient(trust_env=False) as browser:
        page = await browser.get(url, params=parameters, follow_redirects=True)
        assert re.search(r'<input name="account"', page.text), page.text
        response = await browser.post(page.url, data={"account": "ada"})
        while not (location := urljoin(str(response.url), response.headers["Location"])).startswith(CALLBACK):
            response = await browser.get(location)
    answer = parse_qs(urlsplit(location).query)
    assert (answer["state"], answer["iss"]) == (["state"], [url.removesuffix("/auth")])
    return answer["code"][0]
