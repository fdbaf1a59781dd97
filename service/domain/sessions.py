"""Sessions of the console: the random ID of a signed-in browser, and the values that derive from it."""

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from service.domain.keys import Caller

LIFETIME: Final = timedelta(hours=12)

_ID_BYTES: Final = 32
_ID: Final = re.compile(r"[\w-]{43}", re.ASCII)
_FORM_TOKEN: Final = b"form token"


@dataclass(frozen=True, slots=True)
class Session:
    """A valid session: the key or the person, its name, and the slug of the organization.

    `member_id` is the membership that a person has selected, and None for a key. `has_choices` states whether it was
    one of several.
    """

    caller: Caller
    organization: str
    name: str
    member_id: str | None = None
    has_choices: bool = False

    @property
    def is_person(self) -> bool:
        """Return whether a person has signed in, and not a key."""
        return self.member_id is not None


def new_session_id() -> str:
    """Return a new ID with 256 random bits, which only the browser stores."""
    return secrets.token_urlsafe(_ID_BYTES)


def is_session_id(text: str) -> bool:
    """Return whether the text has the format of a session ID."""
    return _ID.fullmatch(text) is not None


def session_digest(session_id: str) -> bytes:
    """Return the digest to store. The ID has 256 random bits, so a slow hash isn't necessary."""
    return sha256(session_id.encode()).digest()


def form_token(session_id: str) -> str:
    """Return the token of the forms of a session, which doesn't reveal the session ID."""
    return hmac.digest(session_id.encode(), _FORM_TOKEN, "sha256").hex()


def is_form_token(token: str, session_id: str) -> bool:
    """Return whether the token belongs to the session."""
    return hmac.compare_digest(token.encode(errors="replace"), form_token(session_id).encode())
