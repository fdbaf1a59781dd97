"""The keys of an issuer that can verify tokens."""

import base64

import pytest

from service.outbound.json_web_keys import BrokenKeySet, read_keys
from tests.oidc.issuers import new_signing_key


def unsigned(number: int) -> str:
    """Return a number as a key contains it."""
    return base64.urlsafe_b64encode(number.to_bytes(number.bit_length() // 8 + 1).lstrip(b"\0")).rstrip(b"=").decode()


EC = new_signing_key("ES256").jwk
RSA = {name: value for name, value in new_signing_key("RS256").jwk.items() if name != "alg"}


def test_key_fits_the_algorithms_of_its_type() -> None:
    keys = read_keys({"keys": [EC, RSA]})
    assert keys.find(EC["kid"], "ES256")
    assert not keys.find(EC["kid"], "ES384")
    assert not keys.find(EC["kid"], "RS256")
    assert keys.find(RSA["kid"], "RS512")
    assert keys.find(RSA["kid"], "PS256")
    stated = read_keys({"keys": [{**RSA, "alg": "PS256"}]})
    assert stated.find(RSA["kid"], "PS256")
    assert not stated.find(RSA["kid"], "RS256")


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "1"},
        {**RSA, "alg": "HS256"},
        {**EC, "use": "enc"},
        {**EC, "key_ops": ["sign"]},
        {**EC, "key_ops": "verify"},
        {**EC, "d": "AAAA"},
        {**EC, "alg": "ES384"},
        {**EC, "crv": "secp256k1", "alg": "ES256K"},
        {**EC, "crv": ["P-256"]},
        {**EC, "kty": {}},
        {**EC, "x": EC["y"]},
        {**EC, "x": "AAAA"},
        {**EC, "x": 1},
        {**EC, "kid": 1},
        {**EC, "kid": "k" * 501},
        {**RSA, "n": "AQAB"},
        {**RSA, "n": f"-{'A' * 1_400}"},
        {**RSA, "n": "!"},
        {**RSA, "n": unsigned(2**1023 + 1)},
        {**RSA, "n": unsigned(2**8192 + 1)},
        {**RSA, "e": unsigned(2**64 + 1)},
        {"kty": "OKP", "crv": "Ed448", "x": "AAAA"},
        "text",
        None,
    ],
)
def test_key_that_can_not_verify_tokens_is_ignored(key: object) -> None:
    assert len(read_keys({"keys": [key, EC]}).keys) == 1
    with pytest.raises(BrokenKeySet, match=r"^has no key that can verify a signature with RS256, RS384"):
        read_keys({"keys": [key]})


@pytest.mark.parametrize("document", [{}, {"keys": {}}, {"keys": [EC] * 101}])
def test_document_without_a_list_of_keys_is_broken(document: dict[str, object]) -> None:
    with pytest.raises(BrokenKeySet, match=r"^has "):
        read_keys(document)
