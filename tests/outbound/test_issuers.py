"""Verification of ID tokens with the keys of their issuers."""

from collections.abc import AsyncIterator, Iterator

import pytest

from service.domain.addresses import AllowedAddresses
from service.outbound.issuers import Issuers, TokenRefused, open_issuers, unverified_issuer
from tests.oidc.issuers import SigningIssuer

AUDIENCE = "https://results.example.com"


@pytest.fixture
def issuer() -> Iterator[SigningIssuer]:
    with SigningIssuer() as issuer:
        yield issuer


@pytest.fixture
async def issuers() -> AsyncIterator[Issuers]:
    async with open_issuers(AllowedAddresses(loopback=True)) as issuers:
        yield issuers


async def test_claims_of_a_valid_token_are_returned(issuer: SigningIssuer, issuers: Issuers) -> None:
    token = issuer.sign({"aud": AUDIENCE, "repository_id": "1"})
    assert unverified_issuer(token) == issuer.url
    claims = await issuers.verify(token, issuer.url, AUDIENCE)
    assert (claims["iss"], claims["repository_id"]) == (issuer.url, "1")
    with pytest.raises(TokenRefused, match=r"^aud: the token is for '.*', and this server expects 'other'"):
        await issuers.verify(token, issuer.url, "other")
