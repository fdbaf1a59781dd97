"""API keys as rows. The secret itself is never among them."""

from datetime import datetime
from typing import Final

import asyncpg

from service.domain.ids import OrgId
from service.domain.keys import Role, StoredKey
from service.store.database import Connection, outages_named
from service.store.statements import statements

_SQL: Final = statements("keys")


async def find(pool: asyncpg.Pool, key_id: str) -> StoredKey | None:
    """The key with this id, whichever organization owns it."""
    async with outages_named():
        row = await pool.fetchrow(_SQL["find"], key_id)
    return None if row is None else StoredKey(*row)


async def insert(
    connection: Connection,
    org_id: OrgId,
    key_id: str,
    name: str,
    role: Role,
    project_id: str | None,
    secret_sha256: bytes,
    expires_at: datetime | None,
) -> None:
    """Stores a new key."""
    await connection.execute(_SQL["insert"], org_id, key_id, name, role, project_id, secret_sha256, expires_at)


async def list_all(connection: Connection, org_id: OrgId) -> list[asyncpg.Record]:
    """Every key of the organization, revoked ones too, newest first."""
    return await connection.fetch(_SQL["list_all"], org_id)


async def revoke(connection: Connection, org_id: OrgId, key_id: str) -> bool:
    """Ends a key; False where there is none that is still alive."""
    return await connection.fetchval(_SQL["revoke"], org_id, key_id) is not None
