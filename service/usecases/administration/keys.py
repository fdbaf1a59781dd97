"""Create, rotate, and revoke API keys. The caller owns the connection and the transaction."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from service.contracts.responses import ApiKey, ApiKeyWithSecret
from service.domain.errors import Forbidden, InvalidRequest, NotFound
from service.domain.ids import OrgId, is_id
from service.domain.keys import Caller, KeyRole, format_key, new_key_id, new_secret, secret_digest
from service.store import job_keys, keys
from service.store.postgres.database import Connection

ROTATION_OVERLAP: Final = timedelta(hours=24)


_PAGE: Final = 1_000


class NewKey(NamedTuple):
    """A new or rotated key. `key` is shown to its owner once and isn't stored."""

    key_id: str
    key: str


async def create_key(
    connection: Connection,
    org_id: OrgId,
    name: str,
    role: KeyRole,
    project_id: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Create a key, which can be bound to one project.

    Raises InvalidRequest if `expires_at` is in the past, or if a key of the role public has no project.
    """
    if role == "public" and project_id is None:
        raise InvalidRequest("project_id: is required, because a key of the role public has one project", "project_id")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest("expires_at: must be in the future", "expires_at")
    key_id, secret = new_key_id(), new_secret()
    await keys.insert(connection, org_id, key_id, name, role, project_id, secret_digest(secret), expires_at)
    return NewKey(key_id, format_key(key_id, secret))


async def list_all_keys(connection: Connection, org_id: OrgId) -> list[ApiKey]:
    """Return all keys of the organization, newest first."""
    found: list[ApiKey] = []
    before = None
    while True:
        page = await keys.list_page(connection, org_id, None, before, _PAGE)
        found += page.rows
        before = page.next
        if before is None:
            return found


async def read_new_key(connection: Connection, org_id: OrgId, new: NewKey) -> ApiKeyWithSecret:
    """Return a new or rotated key with its secret."""
    return {**await keys.find_one(connection, org_id, new.key_id), "key": new.key}


async def revoke_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> None:
    """Revoke a key; every process rejects it within five seconds. Raises NotFound if there is no valid key.

    Requires a transaction. All keys of an ID token end together, also that of an exchange in progress.
    """
    await job_keys.lock_token_of_key(connection, org_id, key_id)
    if not await keys.revoke(connection, org_id, key_id, project_id):
        raise _key_not_found(key_id)


async def rotate_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> NewKey:
    """Replace the secret of a key; the previous one remains valid for 24 hours. Raises NotFound."""
    secret = new_secret()
    if not await keys.rotate(connection, org_id, key_id, secret_digest(secret), ROTATION_OVERLAP, project_id):
        raise _key_not_found(key_id)
    return NewKey(key_id, format_key(key_id, secret))


def choose_project(caller: Caller, requested: str | None) -> str | None:
    """Return the project of a new key: that of the caller's key if it is bound to one. Raises Forbidden."""
    if caller.project_id is not None and requested not in (None, caller.project_id):
        raise Forbidden(
            f"project_id: this key is bound to the project {caller.project_id!r} and can create only keys of it"
        )
    return requested or caller.project_id


def check_key_id(key_id: str) -> None:
    """Raise NotFound if the ID of a key is malformed."""
    if not is_id("key", key_id):
        raise _key_not_found(key_id)


def _key_not_found(key_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, revoked, or of another organization."""
    return NotFound(f"key {key_id[:100]!r} not found")
