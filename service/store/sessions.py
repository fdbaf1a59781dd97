"""Sessions of the console. Only the digests of session IDs are stored."""

from datetime import timedelta
from typing import Final, NamedTuple

from service.domain.ids import OrgId
from service.domain.keys import Caller
from service.domain.members import Identity
from service.store.postgres.database import Connection, OutagesAsUnavailable, Pool
from service.store.postgres.statements import statements

_SQL: Final = statements("sessions")


class StoredSession(NamedTuple):
    """The caller of a session, and the membership if the caller is a person."""

    caller: Caller
    member_id: str | None


async def find(pool: Pool, session_sha256: bytes) -> StoredSession | None:
    """Return a session of any organization, or None if the session has ended."""
    async with OutagesAsUnavailable():
        row = await pool.fetchrow(_SQL["find"], session_sha256)
    if row is None:
        return None
    caller = Caller(OrgId(row["org_id"]), row["credential_id"], row["role"], row["project_id"])
    return StoredSession(caller, row["member_id"])


async def insert(
    connection: Connection, org_id: OrgId, key_id: str, secret_sha256: bytes, session_sha256: bytes, lifetime: timedelta
) -> bool:
    """Insert a session. Return False if the key isn't valid, or if this isn't the digest of its current secret."""
    row = await connection.fetchval(_SQL["insert"], org_id, key_id, secret_sha256, session_sha256, lifetime)
    return row is not None


async def insert_of_person(
    connection: Connection,
    org_id: OrgId,
    person_id: str,
    member_id: str,
    session_sha256: bytes,
    lifetime: timedelta,
    *,
    has_choices: bool,
) -> None:
    """Insert a session of a person, who has just proven to have the membership, and whether there are others."""
    ids = org_id, session_sha256, person_id, member_id
    await connection.execute(_SQL["insert_of_person"], *ids, has_choices, lifetime)


async def has_choices(connection: Connection, org_id: OrgId, session_sha256: bytes) -> bool:
    """Return whether the person of a session can select another membership."""
    return bool(await connection.fetchval(_SQL["has_choices"], org_id, session_sha256))


async def delete(connection: Connection, org_id: OrgId, session_sha256: bytes) -> bool:
    """Delete a session. Return False if it doesn't exist."""
    return await connection.fetchval(_SQL["delete"], org_id, session_sha256) is not None


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` expired sessions, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))


async def insert_sign_in(pool: Pool, sign_in_sha256: bytes, identity: Identity, lifetime: timedelta) -> None:
    """Insert a person who still has to choose a membership."""
    async with OutagesAsUnavailable():
        await pool.execute(_SQL["insert_sign_in"], sign_in_sha256, identity._asdict(), lifetime)


async def find_sign_in(pool: Pool, sign_in_sha256: bytes) -> Identity | None:
    """Return the person who still has to choose a membership, or None if the sign-in is unknown or has expired."""
    async with OutagesAsUnavailable():
        stored = await pool.fetchval(_SQL["find_sign_in"], sign_in_sha256)
    return None if stored is None else Identity(**{**stored, "groups": tuple(stored["groups"])})


async def delete_sign_in(pool: Pool, sign_in_sha256: bytes) -> None:
    """Delete a sign-in whose person has chosen a membership."""
    async with OutagesAsUnavailable():
        await pool.execute(_SQL["delete_sign_in"], sign_in_sha256)


async def delete_expired_sign_ins(connection: Connection) -> None:
    """Delete the people who chose no membership in time."""
    await connection.execute(_SQL["delete_expired_sign_ins"])
