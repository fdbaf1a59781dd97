"""ID tokens of OpenID Connect: their form, their signature, and the claims that every token needs."""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import jwt
import orjson

from service.outbound.json_web_keys import ALGORITHMS, VerificationKey

MAX_TOKEN_CHARS: Final = 16 * 1024  # a token of GitLab, the longest one of a CI system, has about 2,500
_LEEWAY_S: Final = 30
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999
_SHOWN_CHARS: Final = 100
_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SIGNATURES: Final = jwt.PyJWS(algorithms=ALGORITHMS)


class TokenRefused(Exception):
    """The token isn't accepted. `reason` says to the caller what to check.

    `claims` are the claims of the token if its signature is valid, else None.
    """

    def __init__(self, reason: str, claims: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.claims = claims


class UnverifiedToken(NamedTuple):
    """A token whose form is valid. Its signature isn't verified."""

    text: str
    algorithm: str
    key_id: str | None
    issuer: str


def read_token(token: str) -> UnverifiedToken:
    """Read a token whose signature isn't verified yet. Raises TokenRefused."""
    header, claims = _read_parts(token)
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenRefused(
            f"alg: the token is signed with {_shown(algorithm)}; this server accepts {', '.join(ALGORITHMS)}"
        )
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise TokenRefused(f"typ: the token has the type {_shown(kind)}; send an ID token, whose type is 'JWT'")
    if "crit" in header:
        raise TokenRefused("crit: the token requires an extension that this server doesn't support")
    if key_id is not None and not isinstance(key_id, str):
        raise TokenRefused("kid: must be text; send the token as the issuer has signed it")
    return UnverifiedToken(token, algorithm, key_id, _read_issuer(claims))


def verify_signature(token: UnverifiedToken, key: VerificationKey) -> dict[str, Any]:
    """Return the claims of a token that this key has signed. Raises TokenRefused."""
    try:
        signed = _SIGNATURES.decode_complete(token.text, key.public_key, algorithms=[token.algorithm])
    except (jwt.PyJWTError, ValueError):
        raise TokenRefused("signature: isn't valid; send the token as the issuer has signed it") from None
    return _read_object(signed["payload"])


def check_issuer_of(token: UnverifiedToken, issuer: str) -> None:
    """Raise TokenRefused if the token states another issuer."""
    if token.issuer != issuer:
        raise TokenRefused(f"iss: is {_shown(token.issuer)}; this server expects {_shown(issuer)}")


def check_claims(claims: dict[str, Any], audience: str, now_s: float) -> None:
    """Check the claims that every token needs: aud, exp, iat, and nbf if it's present. Raises TokenRefused."""
    _check_audience(claims, audience)
    expires_at, issued_at = _read_time(claims, "exp"), _read_time(claims, "iat")
    if expires_at <= now_s - _LEEWAY_S:
        raise TokenRefused(f"exp: the token expired at {_time_text(expires_at)}; request a new token", claims)
    for name, starts_at in (("iat", issued_at), ("nbf", _read_time(claims, "nbf") if "nbf" in claims else 0)):
        if starts_at > now_s + _LEEWAY_S:
            raise TokenRefused(
                f"{name}: the token is valid from {_time_text(starts_at)}, and the time of this server is"
                f" {_time_text(now_s)}; check both clocks",
                claims,
            )


def _check_audience(claims: dict[str, Any], expected: str) -> None:
    """Raise TokenRefused unless there is one audience, the expected one. The one of a URL can end with a slash."""
    audience = claims.get("aud")
    if isinstance(audience, list):
        if len(audience) != 1:
            raise TokenRefused(
                f"aud: the token is for {len(audience)} audiences; request a token with only the audience"
                f" {_shown(expected)}",
                claims,
            )
        audience = audience[0]
    accepted = [expected, f"{expected}/"] if expected.startswith(("https://", "http://")) else [expected]
    if not isinstance(audience, str) or audience not in accepted:
        stated = "no audience" if audience is None else _shown(audience)
        raise TokenRefused(
            f"aud: the token is for {stated}, and this server expects {_shown(expected)}; request the token"
            f" with the audience {_shown(expected)}",
            claims,
        )


def _read_time(claims: dict[str, Any], name: str) -> float:
    """Return the value of a required claim, in seconds. Raises TokenRefused."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LAST_SECOND:
        raise TokenRefused(f"{name}: is {_shown(value)}; must be a number of seconds since 1970", claims)
    return value


def _read_parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a token. Raises TokenRefused."""
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused(f"token: has more than {MAX_TOKEN_CHARS:,} characters; send an ID token")
    if not _FORM.fullmatch(token):
        raise TokenRefused("token: must be a signed JSON Web Token, which has three parts with dots between them")
    header, claims, _ = token.split(".")
    return _read_object(_decode(header)), _read_object(_decode(claims))


def _decode(part: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise _not_json() from None


def _read_object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except ValueError:
        raise _not_json() from None
    if not isinstance(value, dict):
        raise _not_json()
    return value


def _not_json() -> TokenRefused:
    return TokenRefused("token: must be a signed JSON Web Token, whose first two parts are JSON objects in Base64url")


def _read_issuer(claims: Mapping[str, Any]) -> str:
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer:
        raise TokenRefused(f"iss: is {_shown(issuer)}; must be the URL of the issuer")
    return issuer


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(value: object) -> str:
    """Return a value of a token in a message, with the start of a long one. A missing value is described."""
    if value is None:
        return "missing"
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
