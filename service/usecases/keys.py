"""Makes and ends API keys. The caller owns the connection and, where there is more to do, the transaction."""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.domain.keys import Role, mint_key_id, mint_secret, secret_digest, write_key
from service.store import keys
from service.store.database import Connection


class NewKey(NamedTuple):
    """A key that was just made. `key` is shown to its owner now and can't be had again."""

    key_id: str
    key: str


async def create_key(
    connection: Connection,
    org_id: OrgId,
    name: str,
    role: Role,
    project_id: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Makes a key; one with a project sees that project alone."""
    key_id, secret = mint_key_id(), mint_secret()
    await keys.insert(connection, org_id, key_id, name, role, project_id, secret_digest(secret), expires_at)
    return NewKey(key_id, write_key(key_id, secret))


async def list_keys(connection: Connection, org_id: OrgId) -> list[asyncpg.Record]:
    """Every key of the organization (id, name, role, project_id and its times), newest first."""
    return await keys.list_all(connection, org_id)


async def revoke_key(connection: Connection, org_id: OrgId, key_id: str) -> None:
    """Ends a key; every process refuses it within five seconds. Raises NotFound where there is none to end."""
    if not await keys.revoke(connection, org_id, key_id):
        raise NotFound(f"there is no key {key_id!r}")
