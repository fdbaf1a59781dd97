"""Verification of ID tokens: their form, their signature, and their claims."""

import base64
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.domain.addresses import AllowedAddresses
from service.outbound.id_tokens import read_token
from service.outbound.issuers import Issuers, TokenRefused, open_issuers
from tests.oidc.issuers import SigningIssuer, new_signing_key

AUDIENCE = "https://results.example.com"


@pytest.fixture(scope="module")
def issuer() -> Iterator[SigningIssuer]:
    with SigningIssuer() as issuer:
        yield issuer


@pytest.fixture
async def issuers() -> AsyncIterator[Issuers]:
    async with open_issuers(AllowedAddresses(loopback=True)) as issuers:
        yield issuers


async def refusal(issuers: Issuers, token: str, issuer: SigningIssuer) -> TokenRefused:
    with pytest.raises(TokenRefused) as raised:
        await issuers.verify(token, issuer.url, AUDIENCE)
    return raised.value


def encoded(value: object) -> str:
    text = value if isinstance(value, bytes) else orjson.dumps(value)
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], f"{AUDIENCE}/"])
async def test_claims_of_a_valid_token_are_returned(
    issuer: SigningIssuer, issuers: Issuers, audience: str | list[str]
) -> None:
    token = issuer.sign({"aud": audience, "repository_id": "1"})
    assert read_token(token).issuer == issuer.url
    claims = await issuers.verify(token, issuer.url, AUDIENCE)
    assert (claims["iss"], claims["repository_id"]) == (issuer.url, "1")


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS512", "ES384", "ES512", "EdDSA"])
async def test_asymmetric_algorithms_are_accepted(algorithm: str, issuers: Issuers) -> None:
    with SigningIssuer(algorithm) as issuer:
        assert await issuers.verify(issuer.sign({"aud": AUDIENCE}), issuer.url, AUDIENCE)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example.com"}, "aud: the token is for 'https://other.example.com', and this server "
         f"expects '{AUDIENCE}'; request the token with the audience '{AUDIENCE}'"),
        ({"aud": AUDIENCE.upper()}, "aud: the token is for"),
        ({"aud": [AUDIENCE, "other"]}, "aud: the token is for 2 audiences; request a token with only the audience"),
        ({"aud": [AUDIENCE, AUDIENCE]}, "aud: the token is for 2 audiences"),
        ({"aud": []}, "aud: the token is for 0 audiences"),
        ({"aud": [[AUDIENCE]]}, "aud: the token is for"),
        ({"aud": {AUDIENCE: 1}}, "aud: the token is for"),
        ({"aud": None}, "aud: the token is for no audience, and this server"),
        ({"exp": None}, "exp: is missing; must be a number of seconds since 1970"),
        ({"exp": "4102444800"}, "exp: is '4102444800'; must be a number"),
        ({"exp": True}, "exp: is True; must be a number"),
        ({"exp": 1e300}, "exp: is 1e+300; must be a number"),
        ({"iat": None}, "iat: is missing"),
        ({"iat": [1]}, "iat: is [1]; must be a number"),
        ({"nbf": "now"}, "nbf: is 'now'; must be a number"),
    ],
)  # fmt: skip
async def test_claim_that_does_not_fit_is_refused_with_what_to_check(
    issuer: SigningIssuer, issuers: Issuers, claims: Mapping[str, Any], reason: str
) -> None:
    refused = await refusal(issuers, issuer.sign({"aud": AUDIENCE, "repository_id": "1", **claims}), issuer)
    assert refused.reason.startswith(reason)
    assert refused.claims
    assert refused.claims["repository_id"] == "1"


@pytest.mark.parametrize(
    ("claim", "offset_s", "reason"),
    [
        ("exp", -31, "exp: the token expired at 20"),
        ("iat", 35, "iat: the token is valid from 20"),
        ("nbf", 35, "nbf: the token is valid from 20"),
    ],
)
async def test_expired_or_future_token_is_refused(
    issuer: SigningIssuer, issuers: Issuers, claim: str, offset_s: float, reason: str
) -> None:
    refused = await refusal(issuers, issuer.sign({"aud": AUDIENCE, claim: time.time() + offset_s}), issuer)
    assert refused.reason.startswith(reason)
    assert refused.claims


async def test_clocks_can_differ_by_some_seconds(issuer: SigningIssuer, issuers: Issuers) -> None:
    now = time.time()
    token = issuer.sign({"aud": AUDIENCE, "exp": now - 25, "iat": now + 25.5, "nbf": None})
    assert await issuers.verify(token, issuer.url, AUDIENCE)


async def test_token_of_another_issuer_with_the_same_claims_is_refused(issuer: SigningIssuer, issuers: Issuers) -> None:
    stranger = new_signing_key("ES256", issuer.key.key_id)
    with SigningIssuer() as other:
        refused = await refusal(issuers, other.sign({"aud": AUDIENCE}), issuer)
        assert refused.reason == f"iss: is '{other.url}'; this server expects '{issuer.url}'"
        assert not other.requests
        refused = await refusal(issuers, other.sign({"aud": AUDIENCE, "iss": issuer.url}), issuer)
        assert refused.reason.startswith(f"kid: the issuer {issuer.url} has no key with the ID ")
    forged = issuer.sign({"aud": AUDIENCE}, key=stranger)
    refused = await refusal(issuers, forged, issuer)
    assert refused.reason == "signature: isn't valid; send the token as the issuer has signed it"
    assert refused.claims is None


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES256K", "", 1, None, ["ES256"]])
async def test_other_algorithms_are_refused(issuer: SigningIssuer, issuers: Issuers, algorithm: object) -> None:
    payload = issuer.sign({"aud": AUDIENCE}).split(".")[1]
    for signature in ("", encoded(b"0" * 64)):
        token = f"{encoded({'alg': algorithm, 'kid': issuer.key.key_id})}.{payload}.{signature}"
        assert (await refusal(issuers, token, issuer)).reason.startswith("alg: the token is signed with ")


async def test_hmac_with_the_public_key_is_refused(issuers: Issuers) -> None:
    with SigningIssuer("RS256") as issuer:
        public_key = issuer.key.private_key.public_key()
        secret = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signer = jwt.PyJWS()
        payload = orjson.dumps({"iss": issuer.url, "aud": AUDIENCE, "iat": time.time(), "exp": time.time() + 60})
        unsigned = f"{encoded({'alg': 'HS256', 'kid': issuer.key.key_id})}.{encoded(payload)}"
        mac = signer.get_algorithm_by_name("HS256").sign(unsigned.encode(), secret)
        refused = await refusal(issuers, f"{unsigned}.{encoded(mac)}", issuer)
        assert refused.reason.startswith("alg: the token is signed with 'HS256'; this server accepts RS256, ")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "at+jwt"}, "typ: the token has the type 'at+jwt'; send an ID token"),
        ({"crit": ["b64"], "b64": True}, "crit: the token requires an extension"),
        ({"kid": "missing"}, "kid: the issuer "),
        ({"alg": "ES384"}, "kid: the issuer "),
    ],
)
async def test_header_that_does_not_fit_is_refused(
    issuer: SigningIssuer, issuers: Issuers, header: Mapping[str, Any], reason: str
) -> None:
    _, payload, signature = issuer.sign({"aud": AUDIENCE}).split(".")
    token = f"{encoded({'alg': 'ES256', 'kid': issuer.key.key_id, **header})}.{payload}.{signature}"
    assert (await refusal(issuers, token, issuer)).reason.startswith(reason)


async def test_token_without_kid_is_accepted_if_one_key_fits(issuers: Issuers) -> None:
    with SigningIssuer() as issuer:
        token = issuer.sign({"aud": AUDIENCE}, kid=None)
        issuer.published = [issuer.key.jwk, new_signing_key("ES384").jwk]
        assert await issuers.verify(token, issuer.url, AUDIENCE)
    with SigningIssuer() as issuer:
        token = issuer.sign({"aud": AUDIENCE}, kid=None)
        issuer.published = [issuer.key.jwk, new_signing_key().jwk]
        assert (await refusal(issuers, token, issuer)).reason.startswith(f"kid: the issuer {issuer.url} has no key wi")


def test_token_of_a_megabyte_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(TokenRefused, match=r"^token: has more than 16,384 characters; send an ID token$"):
        read_token("{" * 2**20)


@pytest.mark.parametrize(
    "token",
    [
        "", "token", "a.b", "a.b.c.d.e", "a.b.c", "a=.b.c", "ä.b.c", "a.b.c\n", f"{encoded([])}.{encoded({})}.c",
        f"{encoded({})}.{encoded('text')}.c", f"{encoded({})}.{encoded(b'{')}.c",
        f"{encoded({})}.{encoded(b'[' * 9_000)}.c", f"{encoded({})}.{encoded(bytes([123, 255]))}.c",
    ],
)  # fmt: skip
def test_text_that_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenRefused, match=r"^token: must be a signed JSON Web Token, w"):
        read_token(token)


@pytest.mark.parametrize("issuer", [None, 1, [], {}, ""])
def test_issuer_of_another_type_is_refused(issuer: object) -> None:
    with pytest.raises(TokenRefused, match=r"^iss: is .*; must be the URL of the issuer$"):
        read_token(f"{encoded({'alg': 'ES256'})}.{encoded({'iss': issuer})}.c")
