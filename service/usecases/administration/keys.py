"""Create, rotate, and revoke API keys. The caller owns the connection and the transaction."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from service.domain.errors import InvalidRequest, NotFound
from service.domain.ids import OrgId
from service.domain.keys import KeyRole, format_key, new_key_id, new_secret, secret_digest
from service.store import keys
from service.store.postgres.database import Connection, Row

ROTATION_OVERLAP: Final = timedelta(hours=24)


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
    """Create a key, which can be bound to one project. Raises InvalidRequest if `expires_at` is in the past."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest("expires_at: must be in the future", "expires_at")
    key_id, secret = new_key_id(), new_secret()
    await keys.insert(connection, org_id, key_id, name, role, project_id, secret_digest(secret), expires_at)
    return NewKey(key_id, format_key(key_id, secret))


async def list_keys(
    connection: Connection, org_id: OrgId, project_id: str | None = None, before: str | None = None, limit: int = 1_000
) -> list[Row]:
    """Return keys of the organization or of one project (id, name, role, project_id, and times), newest first."""
    return await keys.list_page(connection, org_id, project_id, before, limit)


async def revoke_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> None:
    """Revoke a key; every process rejects it within five seconds. Raises NotFound if there is no valid key."""
    if not await keys.revoke(connection, org_id, key_id, project_id):
        raise key_not_found(key_id)


async def rotate_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> NewKey:
    """Replace the secret of a key; the previous one remains valid for 24 hours. Raises NotFound."""
    secret = new_secret()
    if not await keys.rotate(connection, org_id, key_id, secret_digest(secret), ROTATION_OVERLAP, project_id):
        raise key_not_found(key_id)
    return NewKey(key_id, format_key(key_id, secret))


def key_not_found(key_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, revoked, or of another organization."""
    return NotFound(f"key {key_id[:100]!r} not found")
