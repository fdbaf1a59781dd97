"""The public keys of an issuer (a JSON Web Key Set), of which only those that can sign tokens are used."""

import base64
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import jwt

# Of an issuer, which anyone can be whom an admin of one organization trusts: larger keys need too much CPU time.
_MAX_KEYS: Final = 100
_RSA_BITS: Final = range(2048, 8192 + 1)
_MAX_EXPONENT_BITS: Final = 64
_MAX_ID_CHARS: Final = 500

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# The type and the curve of a key, and the algorithms that it can verify. Symmetric keys are missing on purpose.
_ALGORITHMS_OF: Final = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_PARAMETERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
ALGORITHMS: Final = tuple(algorithm for algorithms in _ALGORITHMS_OF.values() for algorithm in algorithms)


class BrokenKeySet(Exception):
    """The set has no usable key, or isn't a set of keys."""


class VerificationKey(NamedTuple):
    """A public key, and the algorithms whose signatures it verifies."""

    key_id: str | None
    algorithms: tuple[str, ...]
    public_key: Any  # a key of the library `cryptography`


class KeySet(NamedTuple):
    """The usable keys of an issuer, at least one."""

    keys: tuple[VerificationKey, ...]

    def find(self, key_id: str | None, algorithm: str) -> VerificationKey | None:
        """Return the key with this ID, or, without an ID, the only key that fits the algorithm."""
        fitting = [key for key in self.keys if algorithm in key.algorithms]
        if key_id is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.key_id == key_id), None)


def read_keys(document: Mapping[str, Any]) -> KeySet:
    """Return the usable keys of a set. Raises BrokenKeySet."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise BrokenKeySet("has no list 'keys'")
    if len(listed) > _MAX_KEYS:
        raise BrokenKeySet(f"has {len(listed)} keys; at most {_MAX_KEYS} are read")
    keys = tuple(key for jwk in listed if isinstance(jwk, dict) and (key := _read_key(jwk)))
    if not keys:
        raise BrokenKeySet(f"has no key that can verify a signature with {', '.join(ALGORITHMS)}")
    return KeySet(keys)


def _read_key(jwk: dict[str, Any]) -> VerificationKey | None:
    """Return a key, or None if it isn't usable: one of another type, for another use, or with the private part."""
    algorithms = _algorithms_of(jwk)
    if not algorithms or "d" in jwk or not _is_for_signatures(jwk):
        return None
    key_id, parameters = jwk.get("kid"), {name: jwk.get(name) for name in _PARAMETERS[jwk["kty"]]}
    if not all(isinstance(value, str) for value in parameters.values()) or not _is_id(key_id):
        return None
    try:
        if jwk["kty"] == "RSA" and not _has_usual_size(jwk):
            return None
        public_key = jwt.PyJWK({"kty": jwk["kty"], **parameters}, algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    return VerificationKey(key_id, algorithms, public_key)


def _algorithms_of(jwk: dict[str, Any]) -> tuple[str, ...]:
    """Return the algorithms of the type of a key, or the stated one of them."""
    kind, curve, stated = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return ()
    fitting = _ALGORITHMS_OF.get((kind, curve if kind != "RSA" else None), ())
    return fitting if stated is None else tuple(algorithm for algorithm in fitting if algorithm == stated)


def _is_id(key_id: object) -> bool:
    return key_id is None or (isinstance(key_id, str) and len(key_id) <= _MAX_ID_CHARS)


def _is_for_signatures(jwk: dict[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _has_usual_size(jwk: dict[str, Any]) -> bool:
    return _bits(jwk["n"]) in _RSA_BITS and _bits(jwk["e"]) <= _MAX_EXPONENT_BITS


def _bits(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).bit_length()
