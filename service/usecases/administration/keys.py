"""Makes and ends API keys. The caller owns the connection and, where there is more to do, the transaction."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from service.domain.errors import InvalidRequest, NotFound
from service.domain.ids import OrgId
from service.domain.keys import KeyRole, format_key, new_key_id, new_secret, secret_digest
from service.store import keys
from service.store.postgres.database import Connection, Row

OVERLAP: Final = timedelta(hours=24)


class NewKey(NamedTuple):
    """A key that was just made. `key` is shown to its owner now and can't be had again."""

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
    """Makes a key; one with a project sees that project alone. Raises InvalidRequest for one that has ended already."""
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest("expires_at: must lie ahead", "expires_at")
    key_id, secret = new_key_id(), new_secret()
    await keys.insert(connection, org_id, key_id, name, role, project_id, secret_digest(secret), expires_at)
    return NewKey(key_id, format_key(key_id, secret))


async def list_keys(
    connection: Connection, org_id: OrgId, project_id: str | None = None, before: str | None = None, limit: int = 1_000
) -> list[Row]:
    """Keys of the organization or of one project (id, name, role, project_id and its times), newest first."""
    return await keys.list_page(connection, org_id, project_id, before, limit)


async def revoke_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> None:
    """Ends a key; every process refuses it within five seconds. Raises NotFound where there is none to end."""
    if not await keys.revoke(connection, org_id, key_id, project_id):
        raise no_key(key_id)


async def rotate_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> NewKey:
    """Another secret for a key; the one before works for 24 hours more. Raises NotFound where there is no such key."""
    secret = new_secret()
    if not await keys.rotate(connection, org_id, key_id, secret_digest(secret), OVERLAP, project_id):
        raise no_key(key_id)
    return NewKey(key_id, format_key(key_id, secret))


def no_key(key_id: str) -> NotFound:
    """The same for an id that is malformed, absent, ended or another organization's."""
    return NotFound(f"there is no key {key_id[:100]!r}")
