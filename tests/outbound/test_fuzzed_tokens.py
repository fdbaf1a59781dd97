"""Random changes of tokens and keys: each one is verified or refused, without any other error."""

import os
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from service.outbound.id_tokens import TokenRefused, check_claims, read_token, verify_signature
from service.outbound.json_web_keys import BrokenKeySet, read_keys
from tests.oidc.issuers import SigningKey, new_signing_key

SEED = int(os.environ.get("RESULTS_TEST_SEED", "1"))
COUNT = 20_000
PARAMETERS = ("kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops", "d")
CLAIMS = ("iss", "aud", "exp", "iat", "nbf")
VALUES: tuple[Any, ...] = (
    None, True, 1, -1, 1.5, 1e308, "", "x", "AQAB", [], {}, ["a"], {"a": 1}, "A" * 2_000, "P-256", "RSA", "EC", "OKP",
    "Ed25519", "oct", "sig", ["verify"], "-_-_", "ES256", "RS256", "😀", "AA==", " ",
)  # fmt: skip


def changed_text(random: Random, text: str) -> str:
    characters = list(text)
    for _ in range(random.randint(1, 3)):
        characters[random.randrange(len(characters))] = random.choice("ABC-_=.!é0")
    return "".join(characters)


def changed_object(random: Random, document: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    changed = dict(document)
    for _ in range(random.randint(0, 3)):
        name = random.choice(names)
        value = changed.get(name)
        if isinstance(value, str) and value and random.random() < 0.5:
            changed[name] = changed_text(random, value)
        else:
            changed[name] = random.choice(VALUES)
    return {name: value for name, value in changed.items() if value is not None or random.random() < 0.5}


def is_accepted(random: Random, key: SigningKey) -> bool:
    now = time.time()
    claims = changed_object(random, {"iss": "issuer", "aud": "audience", "iat": now, "exp": now + 60}, CLAIMS)
    token = key.sign({**claims, "iss": "issuer"})
    if random.random() < 0.5:
        token = changed_text(random, token)
    try:
        keys = read_keys({"keys": [changed_object(random, key.jwk, PARAMETERS)]})
        unverified = read_token(token)
        found = keys.find(unverified.key_id, unverified.algorithm)
        if found:
            check_claims(verify_signature(unverified, found), "audience", now)
    except (BrokenKeySet, TokenRefused):
        return False
    return found is not None


@pytest.mark.nightly
def test_changed_token_or_key_never_causes_another_error() -> None:
    random = Random(SEED)
    keys = [new_signing_key(algorithm) for algorithm in ("RS256", "ES256", "ES512", "EdDSA")]
    accepted = sum(is_accepted(random, random.choice(keys)) for _ in range(COUNT))
    assert 0 < accepted < COUNT / 2
