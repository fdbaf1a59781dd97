"""Sessions of the console. Only the digests of session IDs are stored."""

from datetime import timedelta
from typing import Final

from service.domain.ids import OrgId
from service.domain.keys import Caller
from service.store.postgres.database import Connection, OutagesAsUnavailable, Pool
from service.store.postgres.statements import statements

_SQL: Final = statements("sessions")


async def find(pool: Pool, session_sha256: bytes) -> Caller | None:
    """Return the key of a session of any organization, or None if the session has ended."""
    async with OutagesAsUnavailable():
        row = await pool.fetchrow(_SQL["find"], session_sha256)
    return None if row is None else Caller(OrgId(row["org_id"]), row["key_id"], row["role"], row["project_id"])


async def insert(
    connection: Connection, org_id: OrgId, key_id: str, secret_sha256: bytes, session_sha256: bytes, lifetime: timedelta
) -> bool:
    """Insert a session. Return False if the key isn't valid, or if this isn't the digest of its current secret."""
    row = await connection.fetchval(_SQL["insert"], org_id, key_id, secret_sha256, session_sha256, lifetime)
    return row is not None


async def delete(connection: Connection, org_id: OrgId, session_sha256: bytes) -> bool:
    """Delete a session. Return False if it doesn't exist."""
    return await connection.fetchval(_SQL["delete"], org_id, session_sha256) is not None


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` expired sessions, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))
