"""Rows of API keys, which contain digests of secrets but no secret."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, cast

import asyncpg

from service.database.database import Connection
from service.database.errors import OutagesAsUnavailable
from service.database.pages import RowPage
from service.database.statements import statements
from service.domain.ids import OrgId
from service.identity.keys.contract import ApiKey
from service.identity.keys.model import KeyRole, StoredKey
from service.identity.publishers.job_claims import read_job

_SQL: Final = statements("identity/keys")
_AFTER_ALL_IDS: Final = "key_g"


async def find(pool: asyncpg.Pool, key_ids: Collection[str]) -> dict[str, StoredKey]:
    """Return the keys with these IDs, of any organization, by their IDs."""
    async with OutagesAsUnavailable():
        rows = await pool.fetch(_SQL["find"], key_ids)
    columns = [{**row, "job": read_job(row["job"])} for row in rows]
    return {each.pop("key_id"): StoredKey(**each) for each in columns}


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
    """Insert a key."""
    await connection.execute(_SQL["insert"], org_id, key_id, name, role, project_id, secret_sha256, expires_at)


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> RowPage[ApiKey, str]:
    """Return keys older than the ID `before`, newest first, including revoked ones, optionally of one project."""
    rows = await connection.fetch(_SQL["list_page"], org_id, before or _AFTER_ALL_IDS, project_id, limit + 1)
    page = [_to_object(row) for row in rows[:limit]]
    return RowPage(page, page[-1]["id"] if len(rows) > limit else None)


async def find_one(connection: Connection, org_id: OrgId, key_id: str) -> ApiKey:
    """Return an existing key. Raises LookupError."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, key_id)
    if row is None:
        raise LookupError(key_id)
    return _to_object(row)


async def find_name(connection: Connection, org_id: OrgId, key_id: str) -> str | None:
    """Return the name of a key, or None if it doesn't exist."""
    name: str | None = await connection.fetchval(_SQL["find_name"], org_id, key_id)
    return name


def _to_object(row: asyncpg.Record) -> ApiKey:
    return cast("ApiKey", dict(row))


async def revoke(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None) -> bool:
    """Revoke a key. Return False if there is no unrevoked key with this ID."""
    return await connection.fetchval(_SQL["revoke"], org_id, key_id, project_id) is not None


async def rotate(
    connection: Connection, org_id: OrgId, key_id: str, secret_sha256: bytes, overlap: timedelta, project_id: str | None
) -> bool:
    """Replace the secret of a key. Return False if there is no unrevoked key with this ID."""
    row = await connection.fetchval(_SQL["rotate"], org_id, key_id, secret_sha256, overlap, project_id)
    return row is not None


async def touch(connection: Connection, org_id: OrgId, key_id: str) -> None:
    """Set the time of last use, at most once per minute."""
    await connection.execute(_SQL["touch"], org_id, key_id)
