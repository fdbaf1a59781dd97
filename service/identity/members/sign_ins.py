"""Sign-ins of people with OpenID Connect: the attempt of a browser, and what the provider returns for it."""

import hmac
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from service.domain.errors import InvalidRequest, Unauthorized
from service.identity.keys.model import permissions_of
from service.identity.members.model import MAX_GROUP, Identity, Membership, normalize_email

SIGN_IN_LIFETIME: Final = timedelta(minutes=10)  # of an attempt, and then of the choice of a membership

_RANDOM_BYTES: Final = 32
_CLOCK_SKEW_S: Final = 30  # another API process can have started the attempt
_MAX_COOKIE: Final = 4_000
_MAX_SUBJECT: Final = 255  # OpenID Connect Core, section 2
_MAX_NAME: Final = 200
_MAX_GROUPS: Final = 5_000
_ERROR: Final = re.compile(r"[\x20-\x7e]{1,60}")
_START_AGAIN: Final = "start again"


@dataclass(frozen=True, slots=True)
class OidcClient:
    """How the provider knows the console: a confidential client, and the issuer of its ID tokens."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    scopes: str
    groups_claim: str


class SignInAttempt(NamedTuple):
    """What a browser keeps while its user signs in at the provider. Only this browser can finish the attempt."""

    state: str
    nonce: str
    verifier: str  # of PKCE
    started_at: int  # in seconds since 1970
    target: str  # the path of the page to continue with


class StatedIdentity(NamedTuple):
    """The identity, and the email as the provider states it, which can be unverified."""

    identity: Identity
    stated_email: str | None


def new_attempt(target: str, now: float) -> SignInAttempt:
    """Return an attempt with new random values."""
    state, nonce, verifier = (secrets.token_urlsafe(_RANDOM_BYTES) for _ in range(3))
    return SignInAttempt(state, nonce, verifier, int(now), target)


def write_attempt(attempt: SignInAttempt) -> str:
    """Return the value of the cookie."""
    return urlsafe_b64encode(json.dumps(attempt).encode()).decode()


def read_attempt(cookie: str, now: float) -> SignInAttempt:
    """Return the attempt of a cookie. Raises InvalidRequest if it has expired, or isn't an attempt."""
    try:
        values = json.loads(urlsafe_b64decode(cookie[:_MAX_COOKIE].encode()))
        attempt = SignInAttempt(*values)
        is_valid = all(isinstance(value, str) and value.isascii() for value in (*attempt[:3], attempt.target))
        is_current = -_CLOCK_SKEW_S <= now - attempt.started_at < SIGN_IN_LIFETIME.total_seconds()
    except (ValueError, TypeError, OverflowError, RecursionError):
        is_valid = is_current = False
    if not (is_valid and is_current):
        raise InvalidRequest(f"this browser has not started a sign-in in the last 10 minutes; {_START_AGAIN}")
    return attempt


def authorization_url(client: OidcClient, endpoint: str, attempt: SignInAttempt, *, as_other: bool) -> str:
    """Return the URL of the provider at which a person signs in. `as_other` requests that it asks who signs in."""
    challenge = urlsafe_b64encode(sha256(attempt.verifier.encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": client.scopes,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return _with_query(endpoint, {**query, "prompt": "login"} if as_other else query)


def sign_out_url(client: OidcClient, endpoint: str, return_to: str) -> str:
    """Return the URL of the provider at which a person signs out, and which then returns to the console."""
    return _with_query(endpoint, {"client_id": client.client_id, "post_logout_redirect_uri": return_to})


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def check_state(attempt: SignInAttempt, query: Sequence[tuple[str, str]]) -> None:
    """Raise InvalidRequest unless the query belongs to this attempt, which only its browser knows."""
    states = [value for name, value in query if name == "state"]
    if len(states) != 1 or not _is_equal(states[0], attempt.state):
        raise InvalidRequest(f"state: belongs to another sign-in or browser; {_START_AGAIN}")


def read_code(query: Sequence[tuple[str, str]], issuer: str, *, requires_issuer: bool) -> str:
    """Return the authorization code with which the provider redirects the browser. Check the state before.

    Raises InvalidRequest if another provider has sent the response (RFC 9207), and Unauthorized if the provider has
    rejected the sign-in.
    """
    values = dict(query)
    if len(values) < len(query):
        raise InvalidRequest(f"the provider sent a parameter twice; {_START_AGAIN}")
    if not _is_equal(values.get("iss"), issuer) and ("iss" in values or requires_issuer):
        raise InvalidRequest(f"iss: the response isn't from the provider of this console; {_START_AGAIN}")
    if "error" in values:
        stated = values["error"] if _ERROR.fullmatch(values["error"]) else "unknown error"
        raise Unauthorized(f"the provider did not sign you in: {stated}")
    if not values.get("code"):
        raise InvalidRequest(f"code: is missing in the response of the provider; {_START_AGAIN}")
    return values["code"]


def check_token(client: OidcClient, attempt: SignInAttempt, claims: Mapping[str, Any]) -> None:
    """Raise Unauthorized unless a verified ID token was issued for this attempt of this client."""
    subject = claims.get("sub")
    if not _is_equal(claims.get("nonce"), attempt.nonce):
        raise Unauthorized(f"nonce: the ID token belongs to another sign-in; {_START_AGAIN}")
    if "azp" in claims and claims["azp"] != client.client_id:
        raise Unauthorized("azp: the ID token was issued to another client")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or "\0" in subject:
        raise Unauthorized(f"sub: must be a text of at most {_MAX_SUBJECT} characters")


def is_complete(client: OidcClient, claims: Mapping[str, Any]) -> bool:
    """Return whether the claims of an ID token contain what determines the memberships of the person."""
    return {"email", "email_verified", client.groups_claim} <= claims.keys()


def add_user_info(client: OidcClient, claims: Mapping[str, Any], user_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims of an ID token, and the claims that only the user info has.

    Raises Unauthorized if the user info belongs to another person.
    """
    if user_info.get("sub") != claims["sub"]:
        raise Unauthorized("sub: the user info of the provider is that of another person")
    added = {name: user_info[name] for name in ("name", client.groups_claim) if name in user_info}
    if "email" in user_info and "email_verified" not in claims:  # which states something about its own email
        emails = {name: user_info[name] for name in ("email", "email_verified") if name in user_info}
        return {**added, **claims, **emails}
    return {**added, **claims}


def read_identity(client: OidcClient, claims: Mapping[str, Any]) -> StatedIdentity:
    """Return who has signed in. An email counts only if the provider has verified it, and never as a text "true"."""
    stated = claims.get("email")
    try:
        email = normalize_email(stated) if isinstance(stated, str) else None
    except ValueError:
        email = None
    verified = email if claims.get("email_verified") is True else None
    groups = _read_groups(claims.get(client.groups_claim))
    return StatedIdentity(
        Identity(client.issuer, claims["sub"], verified, _read_name(claims.get("name")), groups), email
    )


def hide_narrower(memberships: Sequence[Membership]) -> list[Membership]:
    """Return the memberships, without a membership in a project that allows nothing beyond one in all projects."""
    of_all = {each.organization: permissions_of(each.role) for each in memberships if each.project_id is None}
    return [
        each
        for each in memberships
        if each.project_id is None or not permissions_of(each.role) <= of_all.get(each.organization, frozenset())
    ]


def _read_name(name: object) -> str | None:
    if not isinstance(name, str):
        return None
    words = "".join(char if char.isprintable() else " " for char in name).split()
    return " ".join(words)[:_MAX_NAME].strip() or None


def _read_groups(groups: object) -> tuple[str, ...]:
    """Return the names of groups. Some providers state a single group as a text instead of a list."""
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    names = (name for name in listed[:_MAX_GROUPS] if isinstance(name, str) and 0 < len(name) <= MAX_GROUP)
    return tuple(dict.fromkeys(name for name in names if "\0" not in name))


def _is_equal(stated: object, expected: str) -> bool:
    return isinstance(stated, str) and hmac.compare_digest(stated.encode(errors="replace"), expected.encode())
