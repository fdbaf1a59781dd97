"""API keys: their format, their validation, and the roles and permissions that they grant."""

import hmac
import os
import re
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, get_args
from zlib import crc32

from service.domain.errors import Forbidden
from service.domain.ids import OrgId
from service.identity.publishers.model import JobClaims

Permission = Literal[
    "results:read",
    "results:export",
    "reports:create",
    "reports:create_untrusted",
    "runs:promote",
    "runs:delete",
    "projects:manage",
    "quarantines:manage",
    "gates:manage",
    "webhooks:manage",
    "keys:manage",
]
KeyRole = Literal["viewer", "uploader", "engineer", "admin", "public"]  # schema.sql checks the same names

_PUBLIC: Final[frozenset[Permission]] = frozenset({"reports:create_untrusted"})
_VIEWER: Final[frozenset[Permission]] = frozenset({"results:read"})
_UPLOADER: Final[frozenset[Permission]] = _VIEWER | {"reports:create"}
PERMISSIONS: Final[dict[KeyRole, frozenset[Permission]]] = {
    "viewer": _VIEWER,
    "uploader": _UPLOADER,
    "engineer": _UPLOADER | {"results:export", "quarantines:manage", "runs:promote"},
    "admin": frozenset(get_args(Permission)) - _PUBLIC,
    "public": _PUBLIC,  # of keys that aren't secret: only they upload untrusted runs
}
KEY_ROLES: Final[tuple[KeyRole, ...]] = tuple(PERMISSIONS)

# Format: zof_<ID>_<secret>_<CRC-32>. The ID finds the row. The secret has 256 random bits. The checksum identifies a
# mistyped key without a database query and lets secret scanners recognize leaked keys. Only the separators contain "_".
_ALPHABET: Final = string.ascii_letters + string.digits
_SECRET_LENGTH: Final = 43
_KEY: Final = re.compile(r"zof_([0-9a-f]{20})_([A-Za-z0-9]{43})_([0-9a-f]{8})", re.ASCII)


class ParsedKey(NamedTuple):
    """The ID and the secret of a key that a request presents."""

    key_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A stored key. Secrets are stored as SHA-256 digests; the previous one is valid only during a rotation.

    `job` describes the CI job that received the key for its ID token.
    """

    org_id: OrgId
    role: KeyRole
    project_id: str | None
    secret_sha256: bytes
    previous_sha256: bytes | None
    previous_expires_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    job: JobClaims | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller of a request. If `project_id` is set, the caller can access only that project.

    `credential_id` is the ID that limits count: of the API key, or of the person who signed in. `job` describes
    the CI job that received the key from a trusted publisher.
    """

    org_id: OrgId
    credential_id: str
    role: KeyRole
    project_id: str | None
    job: JobClaims | None = None

    @property
    def is_public(self) -> bool:
        """Whether the key isn't secret, so that anybody can be the caller."""
        return self.role == "public"

    @property
    def noun(self) -> str:
        """Return what determines the role and the project, for error messages: a key, or the membership of a person."""
        return "membership" if self.credential_id.startswith("per_") else "key"

    @property
    def idempotency_holder(self) -> str:
        """Return whose idempotency keys a request uses: of the API key, of the person, or of the job's pipeline.

        A job can get another key. If its token states no pipeline, many jobs can have the same description: the `sub`
        of another issuer can be the same for all jobs of a repository.
        """
        if self.job is None or self.job.pipeline is None:
            return self.credential_id
        return f"{self.job.publisher_id} {self.job.job}"

    @property
    def actor_id(self) -> str:
        """Return the ID that the audit trail names: of the publisher of the job, else of the key or person."""
        return self.credential_id if self.job is None else self.job.publisher_id

    def choose_project(self, requested: str | None, refusal: str = "") -> str | None:
        """Return the project of an object that the caller creates: the requested one, or the project of the caller.

        Raises Forbidden for another project. `refusal` is the reason if the usual one would mislead.
        """
        if self.project_id is not None and requested not in (None, self.project_id):
            raise Forbidden(f"project_id: {refusal or f'this {self.noun} is bound to the project {self.project_id!r}'}")
        return requested or self.project_id


def permissions_of(role: KeyRole) -> frozenset[Permission]:
    """Return the permissions of a role of a stored key: none if only a newer version of the service knows the role."""
    return PERMISSIONS.get(role, frozenset())


def roles_with(permission: Permission) -> list[KeyRole]:
    """Return the roles with a permission, the one with the fewest permissions first."""
    return [role for role in KEY_ROLES if permission in PERMISSIONS[role]]


def creator_of(item: Mapping[str, Any]) -> str:
    """Return who created an object, for people: `Ann`, `key "ci"`, `publisher "CI of the shop"`, or `an operator`.

    The noun distinguishes the name of a key from the name of a person: the default one is `created on the command
    line`. Without a name, for example from an older server, it's the ID.
    """
    actor_id, name = item["created_by"], item.get("created_by_name")
    if not name:
        return "an operator" if actor_id == "command line" else str(actor_id)
    noun = {"key": "key", "pub": "publisher"}.get(actor_id.partition("_")[0])
    return f'{noun} "{name}"' if noun else str(name)


def actor_kind(actor_id: str) -> str:
    """Return what has this ID, for people. An operator has none."""
    return {"key": "Key", "pub": "Trusted publisher", "per": "Person"}.get(actor_id.partition("_")[0], "Operator")


def new_key_id() -> str:
    """Return a new key ID: 12 hex digits of Unix time in ms, then 8 random hex digits."""
    return f"key_{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"


def new_secret() -> str:
    """Return a new random secret."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))


def secret_digest(secret: str) -> bytes:
    """Return the digest to store. The secret has 256 random bits, so a slow password hash isn't necessary."""
    return sha256(secret.encode()).digest()


def format_key(key_id: str, secret: str) -> str:
    """Return the complete key, which is shown to its owner once."""
    body = f"zof_{key_id.removeprefix('key_')}_{secret}"
    return f"{body}_{crc32(body.encode()):08x}"


def parse_key(text: str) -> ParsedKey | None:
    """Split a key into its ID and secret. Return None if the format or the checksum is wrong."""
    match = _KEY.fullmatch(text)
    if match is None or text != format_key(match[1], match[2]):
        return None
    return ParsedKey(f"key_{match[1]}", match[2])


def accepts_secret(stored: StoredKey, secret: str, now: datetime) -> bool:
    """Return whether the key is valid at `now` and the secret is its current or unexpired previous one."""
    if stored.revoked_at is not None or _is_past(stored.expires_at, now):
        return False
    digest = secret_digest(secret)
    if hmac.compare_digest(digest, stored.secret_sha256):
        return True
    if stored.previous_sha256 is None or _is_past(stored.previous_expires_at, now):
        return False
    return hmac.compare_digest(digest, stored.previous_sha256)


def _is_past(time_: datetime | None, now: datetime) -> bool:
    return time_ is not None and time_ <= now
