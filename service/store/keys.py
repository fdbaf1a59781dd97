"""API keys as rows. The secret itself is never among them."""

from datetime import datetime, timedelta
from typing import Final

import asyncpg

from service.domain.ids import OrgId
from service.domain.keys import KeyRole, StoredKey
from service.store.postgres.database import Connection, outages_as_unavailable
from service.store.postgres.statements import statements

_SQL: Final = statements("keys")
_BEHIND_ALL: Final = "key_g"  # sorts after every id


async def find(pool: asyncpg.Pool, key_id: str) -> StoredKey | None:
    """The key with this id, whichever organization owns it."""
    async with outages_as_unavailable():
        row = await pool.fetchrow(_SQL["find"], key_id)
    return None if row is None else StoredKey(*row)


async def insert(
    connection: Connection,
    org_id: OrgId,
    key_id: str,
    name: str,
    role: KeyRole,
    project_id: str | None,
    secret_sha256: bytes,
    expires_at: datetime | None,
) -> None:
    """Stores a new key."""
    await connection.execute(_SQL["insert"], org_id, key_id, name, role, project_id, secret_sha256, expires_at)


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> list[asyncpg.Record]:
    """Keys older than the one with the id `before`, newest first, revoked ones too; of the project if one is given."""
    return await connection.fetch(_SQL["list_page"], org_id, before or _BEHIND_ALL, project_id, limit)


async def find_one(connection: Connection, org_id: OrgId, key_id: str) -> asyncpg.Record:
    """What may be shown of a key that is there."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, key_id)
    if row is None:
        raise LookupError(key_id)
    return row


async def revoke(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None) -> bool:
    """Ends a key; False where there is none that is still alive."""
    return await connection.fetchval(_SQL["revoke"], org_id, key_id, project_id) is not None


async def rotate(
    connection: Connection, org_id: OrgId, key_id: str, secret_sha256: bytes, overlap: timedelta, project_id: str | None
) -> bool:
    """Gives a key another secret; False where there is none that is still alive."""
    row = await connection.fetchval(_SQL["rotate"], org_id, key_id, secret_sha256, overlap, project_id)
    return row is not None


async def touch(connection: Connection, org_id: OrgId, key_id: str) -> None:
    """Notes that the key was used, at most once a minute."""
    await connection.execute(_SQL["touch"], org_id, key_id)
