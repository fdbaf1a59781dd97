"""Members, who sign in to the console with a verified email or a group of the identity provider, and sessions."""

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final, Literal, NamedTuple

from service.domain.ids import OrgId
from service.identity.keys.model import Caller, permissions_of

MAX_EMAIL: Final = 254
MAX_GROUP: Final = 200
MAX_MEMBERS: Final = 1_000  # of an organization, because a person can match all of them at each sign-in
SESSION_LIFETIME: Final = timedelta(hours=12)
_ID_BYTES: Final = 32
_ID: Final = re.compile(r"[\w-]{43}", re.ASCII)
_FORM_TOKEN: Final = b"form token"
MemberRole = Literal["viewer", "uploader", "engineer", "admin"]  # schema.sql checks the same names


class Identity(NamedTuple):
    """What the identity provider states about a person who signs in. An email that isn't verified is None."""

    issuer: str
    subject: str
    email: str | None = None  # as normalize_email returns it
    name: str | None = None
    groups: tuple[str, ...] = ()


class NewMember(NamedTuple):
    """A member to add. Either the email, as normalize_email returns it, or the group is set."""

    email: str | None
    group: str | None
    role: MemberRole
    project_id: str | None = None

    def describe(self) -> str:
        """Return who the member is, for messages."""
        return f"email {self.email!r}" if self.group is None else f"group {self.group!r}"


class Membership(NamedTuple):
    """A role of a person who signs in, in one project or in all projects of an organization."""

    org_id: OrgId
    organization: str
    member_id: str
    role: MemberRole
    project_id: str | None


def normalize_email(text: str) -> str:
    """Return an email address in lower case without surrounding spaces. Raises ValueError.

    Only ASCII letters change: otherwise, a Kelvin sign would become a k, and match the address of another person.
    """
    email = "".join(char.lower() if char.isascii() else char for char in text.strip())
    local, _, domain = email.partition("@")
    if not local or not domain or "@" in domain or not email.isprintable() or " " in email or len(email) > MAX_EMAIL:
        raise ValueError(f"must be an email address of at most {MAX_EMAIL} characters, such as ada@example.org")
    return email


def strongest_memberships(found: list[Membership]) -> list[Membership]:
    """Return one membership for each organization and project: the one with the most permissions.

    The memberships are sorted by organization. A membership in all projects precedes memberships in one project.
    """
    strongest: dict[tuple[str, str], Membership] = {}
    for membership in sorted(found, key=lambda each: (len(permissions_of(each.role)), each.member_id)):
        strongest[membership.organization, membership.project_id or ""] = membership
    return [strongest[scope] for scope in sorted(strongest)]


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
