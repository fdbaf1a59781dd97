"""API keys: what one looks like, whether a stored one is the presented one, and what its role permits."""

import hmac
import os
import re
import secrets
import string
import time
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal, NamedTuple, get_args
from zlib import crc32

from service.domain.ids import OrgId

KeyRole = Literal["viewer", "engineer", "admin"]
Permission = Literal[
    "results:read", "results:export", "reports:create", "runs:delete", "webhooks:manage", "keys:manage"
]

KEY_ROLES: Final[tuple[KeyRole, ...]] = get_args(KeyRole)
_VIEWER: Final[frozenset[Permission]] = frozenset({"results:read"})
PERMISSIONS: Final[dict[KeyRole, frozenset[Permission]]] = {
    "viewer": _VIEWER,
    "engineer": _VIEWER | {"results:export", "reports:create"},
    "admin": frozenset(get_args(Permission)),
}

# zof_<id>_<secret>_<checksum>: the id finds the row, the secret is worth 256 bits, and the checksum lets a mistyped
# key, or a scanner that looks for leaked ones, be judged without a look-up. No part but the separators has a "_".
_ALPHABET: Final = string.ascii_letters + string.digits
_SECRET_LENGTH: Final = 43
_KEY: Final = re.compile(r"zof_([0-9a-f]{20})_([A-Za-z0-9]{43})_([0-9a-f]{8})", re.ASCII)


class ParsedKey(NamedTuple):
    """A key that a request carries, taken apart."""

    key_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the store knows of a key. Secrets are stored as SHA-256, the previous one only during a rotation."""

    org_id: OrgId
    role: KeyRole
    project_id: str | None
    secret_sha256: bytes
    previous_sha256: bytes | None
    previous_expires_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Caller:
    """A key in use, and whose it is. One with a project sees that project alone."""

    org_id: OrgId
    key_id: str
    role: KeyRole
    project_id: str | None


def new_key_id() -> str:
    """A new id: 12 hex digits of milliseconds since 1970, then 8 random ones."""
    return f"key_{time.time_ns() // 1_000_000:012x}{os.urandom(4).hex()}"


def new_secret() -> str:
    """A new secret."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))


def secret_digest(secret: str) -> bytes:
    """What is stored of a secret. It has 256 random bits, so that no slow hash is needed."""
    return sha256(secret.encode()).digest()


def format_key(key_id: str, secret: str) -> str:
    """The key as its owner gets it, once."""
    body = f"zof_{key_id.removeprefix('key_')}_{secret}"
    return f"{body}_{crc32(body.encode()):08x}"


def parse_key(text: str) -> ParsedKey | None:
    """The parts of a key, or None for what was never one: another form or a wrong checksum."""
    match = _KEY.fullmatch(text)
    if match is None or text != format_key(match[1], match[2]):
        return None
    return ParsedKey(f"key_{match[1]}", match[2])


def accepts_secret(stored: StoredKey, secret: str, now: datetime) -> bool:
    """Whether the secret is a current one of this key and the key is neither revoked nor expired."""
    if stored.revoked_at is not None or _is_past(stored.expires_at, now):
        return False
    digest = secret_digest(secret)
    if hmac.compare_digest(digest, stored.secret_sha256):
        return True
    if stored.previous_sha256 is None or _is_past(stored.previous_expires_at, now):
        return False
    return hmac.compare_digest(digest, stored.previous_sha256)


def _is_past(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
